/**
 * Publishes with confirms. A bounded window is on the wire, the rest waits in order, destination by destination
 * (lane.ts); after a lost channel the unconfirmed go first again, in order. A blocked connection or a full socket
 * pauses it. refusal-search.ts finds a message that the broker refuses for good.
 */
import { FabricError } from "@linkspan/envelopes";
import type { ConfirmChannel, Message } from "amqplib";
import { type Backoff, backoffMs } from "../backoff.ts";
import type { PublishOptions } from "../bus.ts";
import { Timers } from "../clock.ts";
import { Deque } from "../deque.ts";
import { ConfirmWindow } from "./confirm-window.ts";
import { ConfirmWatch } from "./confirm-watch.ts";
import { Lane } from "./lane.ts";
import type { PublisherOptions } from "./publisher-options.ts";
import { RefusalSearch } from "./refusal-search.ts";
import { abortable, newSending, type Sending, settleSending, unroutable } from "./sending.ts";
import { type Encoded, EXCHANGE } from "./wire.ts";

const REST: Backoff = { minMs: 50, maxMs: 5_000 };

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #lanes = new Map<string, Lane<Sending>>();
  #waiting = new Deque<Sending>();
  #window = new ConfirmWindow<Sending>();
  #channel: ConfirmChannel | undefined;
  #published = 0;
  /** Publishes that are not decided, wherever they wait. */
  #undecided = 0;
  #undecidedBytes = 0;
  /** Of those that wait, the cancelled ones. */
  #calledOff = 0;
  #count = 0;
  #bytes = 0;
  readonly #search = new RefusalSearch();
  #congested = false;
  #blocked: string | undefined;
  #closed = false;
  #onIdle: (() => void)[] = [];
  readonly #timers: Timers;
  readonly #watch: ConfirmWatch;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#timers = new Timers(options.clock);
    this.#watch = new ConfirmWatch({
      clock: this.#timers,
      confirmTimeoutMs: options.confirmTimeoutMs,
      oldest: () => (this.#channel === undefined ? undefined : this.#window.oldest),
      isBlocked: () => this.#blocked !== undefined,
      onLate: (sending) => this.#abandon(sending),
    });
  }

  /** Bytes of all publishes that are not decided. */
  get waitingBytes(): number {
    return this.#undecidedBytes;
  }

  /** Messages that are kept to be sent, cancelled or not. */
  get waitingCount(): number {
    return this.#waiting.size;
  }

  get blocked(): string | undefined {
    return this.#blocked;
  }

  /** @throws FabricError (rejects) `bus.unroutable`, `bus.unavailable`, `bus.timeout` */
  publish(encoded: Encoded, { signal, onWritten }: PublishOptions = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      const size = encoded.content.length;
      const refusal = this.#refusalOf(size);
      if (refusal !== undefined) return reject(new FabricError("bus.unavailable", refusal));
      const lane = this.#laneTo(encoded.destination);
      let sending = newSending(encoded, { lane, order: this.#published++, onWritten, resolve, reject });
      if (signal !== undefined) sending = abortable(sending, signal, this.#callOff);
      if (sending.over) return;
      this.#undecided++;
      this.#undecidedBytes += size;
      this.#waiting.push(sending);
      this.#flush();
    });
  }

  #refusalOf(size: number): string | undefined {
    const { maxCount, maxWaiting, maxWaitingBytes } = this.#options;
    if (this.#closed) return "this bus is closed";
    if (this.#undecided >= maxCount + maxWaiting) return "too many publishes wait for the broker";
    const isFull = this.#undecided > 0 && this.#undecidedBytes + size > maxWaitingBytes;
    return isFull ? "too many bytes wait for the broker" : undefined;
  }

  /** A fresh confirm channel: sends again what is unconfirmed, then goes on. */
  attach(channel: ConfirmChannel): void {
    this.detach();
    this.#channel = channel;
    this.#congested = false;
    let fault: unknown;
    channel.on("ack", ({ deliveryTag, multiple }) => this.#settled(channel, deliveryTag, multiple, true));
    channel.on("nack", ({ deliveryTag, multiple }) => this.#settled(channel, deliveryTag, multiple, false));
    channel.on("return", (message) => this.#returned(message));
    channel.on("drain", () => {
      this.#congested = false;
      this.#flush();
    });
    channel.on("error", (error) => {
      fault = error;
    });
    channel.on("close", () => {
      if (this.#channel !== channel) return;
      this.#rejectRefused(fault);
      this.#lose(fault);
    });
    this.#flush();
  }

  /** The channel is gone: all that is undecided waits again, in the order of publication. */
  detach(): void {
    this.#channel = undefined;
    this.#blocked = undefined;
    const undecided = [...this.#window];
    this.#window = new ConfirmWindow();
    this.#count = 0;
    this.#bytes = 0;
    for (const lane of this.#lanes.values()) undecided.push(...lane.reset());
    if (undecided.length === 0) return;
    const all = [...undecided, ...this.#waiting].filter((sending) => !sending.over);
    this.#waiting = new Deque(all.sort((a, b) => a.order - b.order));
    for (const sending of undecided) sending.returned = false;
  }

  #lose(reason: unknown): void {
    this.detach();
    if (!this.#closed) this.#options.onChannelLost(reason);
  }

  pause(reason: string): void {
    this.#blocked = reason;
  }

  resume(): void {
    this.#blocked = undefined;
    this.#watch.unblocked();
    this.#flush();
  }

  /** Resolves when nothing is undecided. */
  flushed(): Promise<void> {
    if (this.#undecided === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle.push(resolve);
    });
  }

  close(error: FabricError): void {
    this.#closed = true;
    this.#timers.end();
    this.detach();
    for (const sending of this.#waiting) this.#decide(sending, error);
    this.#waiting.clear();
  }

  #laneTo(destination: string): Lane<Sending> {
    let lane = this.#lanes.get(destination);
    if (lane === undefined) {
      lane = new Lane<Sending>(destination);
      this.#lanes.set(destination, lane);
    }
    return lane;
  }

  #flush(): void {
    while (this.#channel !== undefined && !this.#congested && this.#blocked === undefined) {
      const next = this.#waiting.peek();
      if (next === undefined) return;
      if (next.over) {
        this.#waiting.shift();
        this.#calledOff--;
      } else if (!next.lane.isClear || next.lane.parked.size > 0) {
        this.#waiting.shift();
        next.lane.parked.push(next);
      } else if (!this.#hasRoom(next.size) || !this.#transmit(this.#channel, next)) return;
      else this.#waiting.shift();
    }
  }

  /** @returns false when the channel is closing: it waits for the next */
  #transmit(channel: ConfirmChannel, sending: Sending): boolean {
    try {
      sending.onWritten?.();
      this.#congested = !channel.publish(EXCHANGE, sending.key, sending.content, sending.options);
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError) {
        // It cannot be written at all, now or on any other channel.
        this.#decide(sending, new FabricError("bus.unroutable", "it cannot be encoded", { cause: error }));
        return true;
      }
      // A closed channel throws; it has told, or is about to tell, `close`.
      this.#congested = true;
      return false;
    }
    sending.sentAt = this.#options.clock.now();
    sending.lane.sent();
    this.#window.push(sending);
    this.#watch.sent(sending);
    this.#count++;
    this.#bytes += sending.size;
    return true;
  }

  #hasRoom(bytes: number): boolean {
    if (this.#count === 0) return true;
    if (this.#search.isRunning) return false;
    return this.#count < this.#options.maxCount && this.#bytes + bytes <= this.#options.maxBytes;
  }

  #settled(channel: ConfirmChannel, tag: number, multiple: boolean, confirmed: boolean): void {
    if (channel !== this.#channel) return;
    this.#window.confirm(tag, multiple, (sending) => {
      this.#count--;
      this.#bytes -= sending.size;
      this.#search.settled();
      const { lane } = sending;
      const next = lane.settled(sending, confirmed);
      if (confirmed) this.#decide(sending, sending.returned ? unroutable(sending.key) : undefined);
      if (next === "rest") this.#rest(lane);
      else if (next === "go" && lane.parked.size > 0) this.#unpark(lane);
    });
    this.#flush();
  }

  #decide(sending: Sending, error: FabricError | undefined): void {
    if (sending.over) return;
    this.#undecided--;
    this.#undecidedBytes -= sending.size;
    settleSending(sending, error);
    if (this.#undecided === 0) for (const idle of this.#onIdle.splice(0)) idle();
  }

  #unpark(lane: Lane<Sending>): void {
    this.#waiting.unshift(lane.parked.take(lane.parked.size));
  }

  #rest(lane: Lane<Sending>): void {
    const { random, listener } = this.#options;
    const channel = this.#channel;
    listener?.({ event: "bus.fault", reason: `the broker cannot take messages to ${lane.name} now` });
    this.#timers.after(backoffMs(REST, lane.failures, random), () => {
      if (channel !== this.#channel) return;
      lane.rested();
      this.#unpark(lane);
      this.#flush();
    });
  }

  #abandon({ lane }: Sending): void {
    const channel = this.#channel;
    const reason = `no confirm for a message to ${lane.name}: sending again on another channel`;
    this.#options.listener?.({ event: "bus.fault", reason });
    this.#lose(new Error(reason));
    channel?.close().catch((error: unknown) => {
      this.#options.listener?.({ event: "bus.fault", reason: String(error) });
    });
  }

  /** Comes before its confirm; the broker returns in the order of publication. */
  #returned({ fields, properties }: Message): void {
    for (const sending of this.#window) {
      if (sending.returned || sending.key !== fields.routingKey) continue;
      if (sending.options.messageId !== properties.messageId) continue;
      sending.returned = true;
      return;
    }
  }

  #rejectRefused(fault: unknown): void {
    const { oldest } = this.#window;
    if (!this.#search.isFound(fault, this.#count) || oldest === undefined) return;
    const detail = `the broker refuses ${oldest.key}`;
    this.#decide(oldest, new FabricError("bus.unroutable", detail, { cause: fault }));
  }

  readonly #callOff = (sending: Sending, error: FabricError): void => {
    this.#decide(sending, error);
    if (++this.#calledOff > MAX_CALLED_OFF && this.#calledOff > this.#undecided) this.#compact();
  };

  #compact(): void {
    this.#calledOff = 0;
    this.#waiting = new Deque([...this.#waiting].filter(({ over }) => !over));
    for (const lane of this.#lanes.values()) lane.compact();
  }
}

/** So many are kept at most before they are forgotten together. */
const MAX_CALLED_OFF = 1_000;
