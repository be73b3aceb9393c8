/**
 * A consumer on a channel of its own, which comes back with its connection. The broker's window counts
 * messages only; when their bytes pass the bound, the channel is given up and opened again with a window
 * as small as those messages need, so that memory stays bounded and order is kept.
 */
import { FabricError } from "@linkspan/envelopes";
import type { Channel, ChannelModel, ConsumeMessage, Message } from "amqplib";
import { backoffMs } from "../backoff.ts";
import { DEAD_LETTERS, type Death, type Handler, type QueueSpec, type Subscription } from "../bus.ts";
import { sleep, within } from "../clock.ts";
import type { BusListener } from "../events.ts";
import { Intake } from "../intake/intake.ts";
import type { IntakeOptions, Limits, Outlet } from "../intake/options.ts";
import type { Item, MutableDelivery } from "../intake/item.ts";
import { AckWindow } from "./ack-window.ts";
import { textOf } from "./link.ts";
import type { Publisher } from "./publisher.ts";
import { codeOf, declareTransient } from "./topology.ts";
import { bindingKey, type Wire } from "./wire.ts";

export interface AmqpSubscriptionOptions<P> {
  readonly spec: QueueSpec;
  readonly handler: Handler<P>;
  readonly limits: Limits;
  readonly wire: Wire;
  readonly publisher: Publisher;
  /** The consuming connection while it is up. */
  readonly connection: () => ChannelModel | undefined;
  readonly onDrained: () => void;
  readonly intake: Pick<IntakeOptions<P>, "clock" | "random" | "patience" | "observe">;
  readonly listener: BusListener | undefined;
}

const CLOSE_MS = 3_000;
/** A quorum queue without a leader does not answer at all. */
const CONSUME_MS = 5_000;
const REATTACH = { minMs: 50, maxMs: 5_000 };

export class AmqpSubscription<P> implements Subscription, Outlet<P> {
  readonly queue: string;
  readonly #options: AmqpSubscriptionOptions<P>;
  readonly #intake: Intake<P>;
  readonly #isGraveyard: boolean;
  #channel: Channel | undefined;
  #acks: AckWindow | undefined;
  #prefetch: number;
  #failures = 0;
  #generation = 0;
  #draining: Promise<void> | undefined;

  constructor(options: AmqpSubscriptionOptions<P>) {
    const { spec, handler, limits, intake, listener } = options;
    this.queue = spec.name;
    this.#options = options;
    this.#isGraveyard = spec.name === DEAD_LETTERS.name;
    this.#prefetch = Math.min(limits.maxInFlight, 65_535);
    this.#intake = new Intake<P>({
      ...intake,
      queue: spec.name,
      handler,
      limits,
      listener,
      outlet: this,
      mortal: !this.#isGraveyard,
    });
  }

  /** @throws FabricError `bus.unavailable`: the queue is not declared; or what amqplib throws */
  async attach(connection: ChannelModel): Promise<void> {
    const generation = ++this.#generation;
    const channel = await connection.createChannel();
    let fault: unknown;
    channel.on("error", (error) => {
      fault = error;
    });
    channel.on("close", () => {
      if (this.#channel !== channel) return;
      this.detach();
      this.#reattach(fault);
    });
    try {
      const name = await this.#declare(channel);
      await channel.prefetch(this.#prefetch);
      if (generation !== this.#generation || this.#draining !== undefined) {
        await this.#close(channel);
        return;
      }
      this.#channel = channel;
      this.#acks = new AckWindow({
        ack: (deliveryTag, multiple) => channel.ack({ fields: { deliveryTag } } as Message, multiple),
      });
      const consuming = channel.consume(name, (message) => this.#received(channel, message));
      await within(this.#options.intake.clock, CONSUME_MS, "consuming", consuming);
      this.#failures = 0;
    } catch (error) {
      if (this.#channel === channel) this.detach();
      if (fault === undefined) void this.#close(channel);
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

  /** The channel is gone: the broker delivers again what was not acknowledged. */
  detach(): void {
    this.#channel = undefined;
    this.#acks = undefined;
    this.#intake.abandon();
  }

  settle(items: readonly Item<P>[]): void {
    this.#acknowledge(items.map((item) => item.tag));
  }

  bury(item: Item<P>, death: Death): Promise<void> {
    const { wire, publisher } = this.#options;
    return publisher.publish(wire.encodeDead(item.delivery, wire.keyOf(item.delivery.route), death));
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
    await this.#intake.drain();
    const channel = this.#channel;
    this.#channel = undefined;
    this.#options.onDrained();
    if (channel !== undefined) await this.#close(channel);
  }

  #declare(channel: Channel): Promise<string> | string {
    const { spec } = this.#options;
    if (spec.kind !== "transient") return spec.name;
    const name = `${spec.name}.${crypto.randomUUID()}`;
    return declareTransient(channel, name, spec.bindings.map(bindingKey)).then(() => name);
  }

  #received(channel: Channel, message: ConsumeMessage | null): void {
    if (channel !== this.#channel || this.#draining !== undefined) return;
    if (message === null) {
      this.#giveUp(channel, new Error("the broker cancelled the consumer"));
      return;
    }
    const delivery = this.#decode(message);
    if (delivery === undefined) return;
    this.#intake.push(delivery, message.fields.deliveryTag);
    if (this.#intake.bytes > this.#options.limits.maxBytes && this.#intake.count > 1) this.#narrow(channel);
  }

  #decode(message: ConsumeMessage): MutableDelivery | undefined {
    const { wire } = this.#options;
    if (this.#isGraveyard) return wire.decodeDead(message);
    try {
      return wire.decode(message);
    } catch (error) {
      void this.#buryUnrouted(message, error);
      return undefined;
    }
  }

  /** It never reaches the handler, which could not even say where it belongs. */
  async #buryUnrouted(message: ConsumeMessage, error: unknown): Promise<void> {
    const { wire, publisher, listener, intake } = this.#options;
    const channel = this.#channel;
    const key = message.fields.routingKey.slice(0, 255);
    const death: Death = { code: "topic.malformed", detail: textOf(error), queue: this.queue };
    for (let failures = 1; this.#channel === channel; failures++) {
      try {
        await publisher.publish(wire.encodeDead(wire.decodeUnrouted(message), key, death));
        break;
      } catch (fault) {
        listener?.({ event: "bus.fault", queue: this.queue, reason: `cannot bury: ${textOf(fault)}` });
        await sleep(intake.clock, backoffMs(REATTACH, failures, intake.random));
      }
    }
    if (this.#channel === channel) this.#acknowledge([message.fields.deliveryTag]);
    const { messageId } = wire.decodeUnrouted(message);
    listener?.({ event: "bus.buried", queue: this.queue, messageId, code: death.code, detail: death.detail });
  }

  #acknowledge(tags: readonly number[]): void {
    try {
      this.#acks?.settle(tags);
    } catch (error) {
      // The channel has just closed: the broker will deliver them again.
      this.#options.listener?.({ event: "bus.fault", queue: this.queue, reason: textOf(error) });
    }
  }

  #narrow(channel: Channel): void {
    const average = this.#intake.bytes / this.#intake.count;
    const fitting = Math.floor(this.#options.limits.maxBytes / average);
    this.#prefetch = Math.max(1, Math.min(fitting, this.#prefetch - 1));
    this.#giveUp(channel, new Error(`large messages: the window is ${this.#prefetch} now`));
  }

  #giveUp(channel: Channel, reason: Error): void {
    this.detach();
    void this.#close(channel).then(() => this.#reattach(reason));
  }

  #reattach(reason: unknown): void {
    const { listener } = this.#options;
    if (this.#draining !== undefined) return;
    listener?.({ event: "bus.fault", queue: this.queue, reason: textOf(reason) });
    this.#reattachLater(this.#generation);
  }

  /** Until it, or the connection's own recovery, has succeeded. */
  #reattachLater(generation: number): void {
    const { intake, connection } = this.#options;
    const afterMs = this.#failures === 0 ? 0 : backoffMs(REATTACH, this.#failures, intake.random);
    this.#failures++;
    intake.clock.after(afterMs, () => {
      if (generation !== this.#generation || this.#draining !== undefined) return;
      const up = connection();
      if (up === undefined) this.#reattachLater(generation);
      else void this.restore(up);
    });
  }

  /** What is closed already throws, and a peer that does not answer must not keep us. */
  async #close(channel: Channel): Promise<void> {
    const { clock } = this.#options.intake;
    const closing = Promise.resolve().then(() => channel.close());
    await within(clock, CLOSE_MS, "closing", closing).catch(() => undefined);
  }
}

function undeclared(queue: string): FabricError {
  return new FabricError("bus.unavailable", `queue ${queue} is not declared yet`);
}
