/**
 * A consumer on a channel of its own, which comes back with its connection, and with its queue where that was
 * deleted. The broker's window counts messages only; when their bytes pass the bound, the channel is given up
 * and opened again with a smaller window (window.ts), so that memory stays bounded and order is kept.
 *
 * It comes back by itself only once the first attempt has succeeded and until it is drained: an attempt that
 * fails leaves no channel, no queue and no timer.
 */
import { FabricError } from "@linkspan/envelopes";
import type { Channel, ChannelModel, ConsumeMessage, Message } from "amqplib";
import { DEAD_LETTERS, type Death, type StuckMessage, type Subscription } from "../bus.ts";
import { Timers, within } from "../clock.ts";
import { Intake } from "../intake/intake.ts";
import type { MutableDelivery, Item } from "../intake/item.ts";
import type { Outlet } from "../intake/options.ts";
import { AckWindow } from "./ack-window.ts";
import { Admission } from "./admission.ts";
import { CALL_MS, closeChannel, codeOf, openChannel } from "./channel.ts";
import { consumedQueue } from "./consumed-queue.ts";
import { textOf } from "./link.ts";
import { Reattachment } from "./reattachment.ts";
import type { AmqpSubscriptionOptions } from "./subscription-options.ts";
import { bindTransient } from "./topology.ts";
import { Window } from "./window.ts";
import { bindingKey } from "./wire.ts";

/** A quorum queue without a leader does not answer at all. */
const CONSUME_MS = 5_000;
/** A small window that nothing has needed for so long becomes full again. */
const QUIET_MS = 5_000;

export class AmqpSubscription<P> implements Subscription, Outlet<P> {
  readonly queue: string;
  readonly #options: AmqpSubscriptionOptions<P>;
  readonly #intake: Intake<P>;
  readonly #isDeadLetterQueue: boolean;
  readonly #timers: Timers;
  readonly #ending = new AbortController();
  readonly #admission: Admission;
  readonly #reattachment: Reattachment;
  readonly #window: Window;
  /** Of what was refused before it reached the handler: the key that it came with, by delivery tag. */
  readonly #refusedKeys = new Map<number, string>();
  #channel: Channel | undefined;
  #acks: AckWindow | undefined;
  /** The queue's name on the broker. */
  #name: string | undefined;
  /** It was attached once, and comes back by itself. */
  #live = false;
  #growing = false;
  #cancelQuiet: (() => void) | undefined;
  #draining: Promise<void> | undefined;

  constructor(options: AmqpSubscriptionOptions<P>) {
    const { spec, handler, limits, intake, listener } = options;
    this.queue = spec.name;
    this.#options = options;
    this.#isDeadLetterQueue = spec.name === DEAD_LETTERS.name;
    this.#timers = new Timers(intake.clock);
    this.#admission = new Admission(() => [...spec.bindings, ...options.declared()]);
    this.#window = new Window(limits);
    this.#reattachment = new Reattachment({
      queue: spec.name,
      timers: this.#timers,
      random: intake.random,
      listener,
      connection: options.connection,
      repair: options.repair,
      restore: (connection) => this.restore(connection),
      isWanted: () => this.#live && this.#channel === undefined,
    });
    this.#intake = new Intake<P>({
      ...intake,
      queue: spec.name,
      handler,
      limits,
      listener,
      outlet: this,
      deadLetters: !this.#isDeadLetterQueue,
    });
  }

  /** Why nothing is consumed although the connection is up. */
  get trouble(): string | undefined {
    return this.#reattachment.trouble;
  }

  get stuck(): readonly StuckMessage[] {
    return this.#intake.stuck;
  }

  giveUp(messageId: string): boolean {
    return this.#intake.giveUp(messageId);
  }

  /** @throws FabricError `bus.unavailable`: the queue is not declared; or what amqplib throws */
  async attach(connection: ChannelModel): Promise<void> {
    const { clock } = this.#options.intake;
    const isCurrent = this.#reattachment.attempt();
    const isStale = (): boolean => !isCurrent() || this.#ending.signal.aborted;
    const channel = await openChannel(connection, clock);
    let fault: unknown;
    channel.on("error", (error) => {
      fault = error;
    });
    channel.on("close", () => {
      if (this.#channel !== channel) return;
      this.detach();
      if (this.#live) this.#reattach(fault);
    });
    try {
      const name = await consumedQueue(channel, this.#options.spec, clock, this.#options.connection);
      await within(clock, CALL_MS, "setting the window", channel.prefetch(this.#window.size));
      if (isStale()) {
        await closeChannel(channel, clock);
        return;
      }
      this.#channel = channel;
      this.#name = name;
      this.#acks = new AckWindow({
        ack: (deliveryTag, multiple) => channel.ack({ fields: { deliveryTag } } as Message, multiple),
      });
      const consuming = channel.consume(name, (message) => this.#received(channel, message));
      await within(clock, CONSUME_MS, "consuming", consuming);
      const isOver = isStale();
      if (!isOver) this.#live = true;
      if (!isOver && this.#channel === channel) this.#reattachment.succeeded();
      else {
        // Left open, it would stay the queue's only active consumer.
        await closeChannel(channel, clock);
        if (!isOver) this.#reattach(fault);
      }
    } catch (error) {
      if (this.#channel === channel) this.detach();
      if (fault === undefined) await closeChannel(channel, clock);
      throw codeOf(fault ?? error) === 404 ? undeclared(this.queue) : (fault ?? error);
    }
  }

  /** After a lost connection: keeps trying by itself. */
  async restore(connection: ChannelModel): Promise<void> {
    try {
      await this.attach(connection);
    } catch (error) {
      this.#reattach(error);
    }
  }

  /** Binds a queue of its own again; the exchange may have been deleted and declared anew. */
  async rebind(): Promise<void> {
    const { spec, intake } = this.#options;
    const [channel, name] = [this.#channel, this.#name];
    if (spec.kind !== "transient" || channel === undefined || name === undefined) return;
    await bindTransient(channel, intake.clock, name, spec.bindings.map(bindingKey));
  }

  /** The channel is gone: the broker delivers again what was not acknowledged. */
  detach(): void {
    if (this.#channel !== undefined) this.#window.channelLost();
    this.#channel = undefined;
    this.#acks = undefined;
    this.#cancelQuiet?.();
    this.#refusedKeys.clear();
    this.#intake.abandon();
  }

  settle(items: readonly Item<P>[]): void {
    this.#acknowledge(items.map((item) => item.tag));
    if (this.#refusedKeys.size > 0) for (const { tag } of items) this.#refusedKeys.delete(tag);
    if (this.#window.isFull) return;
    if (this.#intake.count === 0) this.#awaitQuiet();
    if (this.#window.canGrow) void this.#grow();
  }

  deadLetter(item: Item<P>, death: Death): Promise<void> {
    const { wire, publisher } = this.#options;
    const key = this.#refusedKeys.get(item.tag) ?? wire.keyOf(item.delivery.route);
    return publisher.publish(wire.encodeDead(item.delivery, key, death));
  }

  drain(): Promise<void> {
    this.#draining ??= this.#drain();
    return this.#draining;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.drain();
  }

  /** Cancelling first would let the next consumer start before this one has settled. */
  async #drain(): Promise<void> {
    this.#live = false;
    this.#timers.end();
    this.#ending.abort();
    await this.#intake.drain();
    const channel = this.#channel;
    this.#channel = undefined;
    this.#reattachment.forgetTrouble();
    this.#options.onDrained();
    if (channel !== undefined) await closeChannel(channel, this.#options.intake.clock);
  }

  #received(channel: Channel, message: ConsumeMessage | null): void {
    if (channel !== this.#channel || this.#draining !== undefined) return;
    if (message === null) {
      this.detach();
      this.#replaceChannel(channel, new Error("the broker cancelled the consumer"));
      return;
    }
    this.#cancelQuiet?.();
    this.#window.arrived(message.content.length);
    this.#take(message);
    const { count, bytes } = this.#intake;
    if (bytes > this.#options.limits.maxBytes && count > this.#window.smallest)
      this.#shrink(channel, count, bytes);
  }

  #take(message: ConsumeMessage): void {
    const { wire } = this.#options;
    let delivery: MutableDelivery;
    try {
      if (this.#isDeadLetterQueue) delivery = wire.decodeDead(message);
      else {
        delivery = wire.decode(message);
        this.#admission.check(message, delivery.route);
      }
    } catch (error) {
      this.#refuse(message, error);
      return;
    }
    this.#intake.push(delivery, message.fields.deliveryTag);
  }

  /** It never reaches the handler, which could not even say where it belongs. */
  #refuse(message: ConsumeMessage, error: unknown): void {
    const { deliveryTag, routingKey } = message.fields;
    this.#refusedKeys.set(deliveryTag, routingKey);
    const code = error instanceof FabricError ? error.code : "internal";
    this.#intake.refuse(this.#options.wire.decodeUnrouted(message), deliveryTag, code, textOf(error));
  }

  #acknowledge(tags: readonly number[]): void {
    try {
      this.#acks?.settle(tags);
    } catch (error) {
      // The channel has just closed: the broker will deliver them again.
      this.#options.listener?.({ event: "bus.fault", queue: this.queue, reason: textOf(error) });
    }
  }

  #shrink(channel: Channel, count: number, bytes: number): void {
    this.detach();
    this.#window.shrink(count, bytes);
    this.#replaceChannel(channel, new Error(`large messages: the window is ${this.#window.size} now`));
  }

  /** Between two batches, so that what is being handled is settled and not delivered again. */
  async #grow(): Promise<void> {
    const channel = this.#channel;
    if (this.#growing || channel === undefined) return;
    this.#growing = true;
    const resume = await this.#intake.pause();
    this.#growing = false;
    if (this.#channel === channel && this.#live && this.#window.canGrow) {
      this.detach();
      this.#window.grow();
      this.#replaceChannel(channel, undefined);
    }
    resume();
  }

  #awaitQuiet(): void {
    this.#cancelQuiet?.();
    this.#cancelQuiet = this.#timers.after(QUIET_MS, () => {
      const channel = this.#channel;
      if (channel === undefined || this.#intake.count > 0) return;
      this.detach();
      this.#window.reset();
      this.#replaceChannel(channel, undefined);
    });
  }

  /** @param reason undefined: nothing is wrong, it only needs another channel */
  #replaceChannel(channel: Channel, reason: Error | undefined): void {
    void closeChannel(channel, this.#options.intake.clock).then(() => {
      if (this.#live) this.#reattach(reason);
    });
  }

  /** Unless it was attached in the meantime, to a new connection. */
  #reattach(reason: unknown): void {
    if (this.#draining === undefined && this.#channel === undefined) this.#reattachment.begin(reason);
  }
}

function undeclared(queue: string): FabricError {
  return new FabricError("bus.unavailable", `queue ${queue} is not declared yet`);
}
