/** A consumer of the embedded broker: the intake, and what it holds unsettled. */
import {
  DEAD_LETTERS,
  type Death,
  type Handler,
  type QueueSpec,
  type StuckMessage,
  type Subscription,
} from "../bus.ts";
import { Intake } from "../intake/intake.ts";
import type { Limits, Outlet } from "../intake/options.ts";
import type { Item } from "../intake/item.ts";
import type { BusListener } from "../events.ts";
import { correlationOf } from "../headers.ts";
import type { BusTelemetry } from "../telemetry.ts";
import type { Exchange } from "./exchange.ts";
import type { Consumer, Entry, Queue } from "./queue.ts";

export interface EmbeddedSubscriptionOptions<P> {
  readonly broker: Exchange;
  readonly spec: QueueSpec;
  readonly handler: Handler<P>;
  readonly limits: Limits;
  readonly telemetry: BusTelemetry;
  readonly listener: BusListener | undefined;
  /** A delivery is on its way: the connection may be lost instead. */
  readonly onDelivery: () => void;
  readonly onDrained: () => void;
}

export class EmbeddedSubscription<P> implements Subscription, Consumer, Outlet<P> {
  readonly queue: string;
  readonly #options: EmbeddedSubscriptionOptions<P>;
  readonly #intake: Intake<P>;
  readonly #unsettled = new Map<number, Entry>();
  #source: Queue | undefined;
  #drained: Promise<void> | undefined;

  constructor(options: EmbeddedSubscriptionOptions<P>) {
    const { broker, spec, telemetry } = options;
    this.queue = spec.name;
    this.#options = options;
    this.#intake = new Intake<P>({
      queue: spec.name,
      handler: options.handler,
      limits: options.limits,
      outlet: this,
      clock: broker.clock,
      random: broker.random,
      listener: options.listener,
      patience: broker.patience,
      deadLetters: spec.name !== DEAD_LETTERS.name,
      onStuck: (change) => telemetry.stuck(spec.name, change),
      observe: (items, run) => telemetry.process(spec.name, items, run),
    });
  }

  /** @throws FabricError `bus.unavailable`: the queue is not declared */
  attach(): void {
    this.#source = this.#options.broker.open(this.#options.spec);
    this.#source.add(this);
  }

  /** The connection is lost: what is unsettled goes back. */
  detach(): void {
    const source = this.#source;
    if (source === undefined) return;
    this.#source = undefined;
    this.#intake.abandon();
    const unsettled = [...this.#unsettled.values()];
    this.#unsettled.clear();
    source.remove(this, unsettled);
    this.#options.broker.release(source);
  }

  get stuck(): readonly StuckMessage[] {
    return this.#intake.stuck;
  }

  giveUp(messageId: string): boolean {
    return this.#intake.giveUp(messageId);
  }

  fits(bytes: number): boolean {
    return this.#intake.fits(bytes);
  }

  deliver(entry: Entry): void {
    const { message } = entry;
    this.#unsettled.set(entry.order, entry);
    this.#intake.push(
      {
        route: message.route,
        body: message.body,
        kid: message.kid,
        sig: message.sig,
        messageId: message.messageId,
        inReplyTo: message.inReplyTo,
        correlationId: correlationOf(message),
        replyTo: message.replyTo,
        traceparent: message.traceparent,
        redelivered: entry.redelivered,
        attempt: 0,
        death: entry.death,
      },
      entry.order,
    );
    this.#options.onDelivery();
  }

  settle(items: readonly Item<P>[]): void {
    for (const { tag } of items) {
      const entry = this.#unsettled.get(tag);
      this.#unsettled.delete(tag);
      entry?.receipt?.settled();
    }
    this.#source?.wake();
  }

  deadLetter(item: Item<P>, death: Death): Promise<void> {
    const entry = this.#unsettled.get(item.tag);
    if (entry !== undefined) {
      this.#options.broker.deadLetter(entry.message, entry.receipt, death);
      entry.receipt = undefined;
    }
    return Promise.resolve();
  }

  drain(): Promise<void> {
    this.#drained ??= this.#drain();
    return this.#drained;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.drain();
  }

  async #drain(): Promise<void> {
    await this.#intake.drain();
    this.detach();
    this.#options.onDrained();
  }
}
