/**
 * Publishes with confirms. A bounded window is on the wire, the rest waits in order, destination by
 * destination (lane.ts); after a lost channel the unconfirmed go first again, in order. A blocked
 * connection or a full socket pauses it.
 *
 * A channel that the broker closes because of a message does not say which: those that were on the wire
 * are then sent one by one, and the one that closes it again is the one that is refused.
 */
import { FabricError } from "@linkspan/envelopes";
import type { ConfirmChannel, Message } from "amqplib";
import { type Backoff, backoffMs } from "../backoff.ts";
import { type Clock, type Random, Timers } from "../clock.ts";
import { Deque } from "../deque.ts";
import type { BusListener } from "../events.ts";
import { ConfirmWindow } from "./confirm-window.ts";
import { Lane, type Sending } from "./lane.ts";
import { type Encoded, EXCHANGE } from "./wire.ts";

export interface PublisherOptions {
  readonly maxCount: number;
  readonly maxBytes: number;
  readonly maxWaiting: number;
  /** Of all publishes that are not decided. */
  readonly maxWaitingBytes: number;
  readonly confirmTimeoutMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly listener: BusListener | undefined;
  /** The channel is closed although the connection is up; a new one is needed. */
  readonly onChannelLost: (reason: unknown) => void;
}

/** The first message of a lane shows within a fraction of the time whether its queue is there. */
const PROBE_SHARE = 1 / 5;
const REST: Backoff = { minMs: 50, maxMs: 5_000 };

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #lanes = new Map<string, Lane>();
  #waiting = new Deque<Sending>();
  #window = new ConfirmWindow<Sending>();
  #channel: ConfirmChannel | undefined;
  #published = 0;
  /** Publishes that are not decided, wherever they wait. */
  #undecided = 0;
  #undecidedBytes = 0;
  /** Of those that wait, the ones that nobody waits for any more. */
  #calledOff = 0;
  #count = 0;
  #bytes = 0;
  #suspects = 0;
  #congested = false;
  #blocked: string | undefined;
  #unblockedAt = Number.NEGATIVE_INFINITY;
  #watching = false;
  #closed = false;
  #onIdle: (() => void)[] = [];
  readonly #timers: Timers;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#timers = new Timers(options.clock);
  }

  /** Bytes of all publishes that are not decided. */
  get waitingBytes(): number {
    return this.#undecidedBytes;
  }

  /** What is kept to be sent, called off or not. */
  get waitingCount(): number {
    return this.#waiting.size;
  }

  get blocked(): string | undefined {
    return this.#blocked;
  }

  /** @throws FabricError (rejects) `bus.unroutable`, `bus.unavailable`, `bus.timeout` */
  publish(encoded: Encoded, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new FabricError("bus.unavailable", "this bus is closed"));
        return;
      }
      if (this.#undecided >= this.#options.maxCount + this.#options.maxWaiting) {
        reject(new FabricError("bus.unavailable", "too many publishes wait for the broker"));
        return;
      }
      const { key, content, options, destination } = encoded;
      const size = content.length;
      if (this.#undecided > 0 && this.#undecidedBytes + size > this.#options.maxWaitingBytes) {
        reject(new FabricError("bus.unavailable", "too many bytes wait for the broker"));
        return;
      }
      const lane = this.#laneTo(destination);
      const order = this.#published++;
      let sending: Sending = {
        key,
        content,
        size,
        options,
        destination,
        order,
        lane,
        resolve,
        reject,
        sentAt: 0,
        returned: false,
        over: false,
      };
      if (signal !== undefined) sending = this.#abortable(sending, signal);
      if (sending.over) return;
      this.#undecided++;
      this.#undecidedBytes += size;
      this.#waiting.push(sending);
      this.#flush();
    });
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
      this.#accuse(fault);
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
    this.#unblockedAt = this.#options.clock.now();
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

  #laneTo(destination: string): Lane {
    let lane = this.#lanes.get(destination);
    if (lane === undefined) {
      lane = new Lane(destination);
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
    if (!this.#watching) this.#watch(this.#limitOf(sending));
    this.#count++;
    this.#bytes += sending.size;
    return true;
  }

  #hasRoom(bytes: number): boolean {
    if (this.#count === 0) return true;
    if (this.#suspects > 0) return false;
    return this.#count < this.#options.maxCount && this.#bytes + bytes <= this.#options.maxBytes;
  }

  #settled(channel: ConfirmChannel, tag: number, multiple: boolean, confirmed: boolean): void {
    if (channel !== this.#channel) return;
    this.#window.confirm(tag, multiple, (sending) => {
      this.#count--;
      this.#bytes -= sending.size;
      if (this.#suspects > 0) this.#suspects--;
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
    sending.over = true;
    sending.content = NOTHING;
    this.#undecided--;
    this.#undecidedBytes -= sending.size;
    if (error === undefined) sending.resolve();
    else sending.reject(error);
    if (this.#undecided === 0) for (const idle of this.#onIdle.splice(0)) idle();
  }

  #unpark(lane: Lane): void {
    this.#waiting.unshift(lane.parked.take(lane.parked.size));
  }

  #rest(lane: Lane): void {
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

  /**
   * A broker that is starting can lose a message without a word. One timer, for the oldest; `afterMs` is
   * when that will have been too long. It outlives the channel, as what is sent again on the next one must be
   * watched, too.
   */
  #watch(afterMs: number): void {
    this.#watching = true;
    this.#timers.after(afterMs, () => {
      this.#watching = false;
      const channel = this.#channel;
      const [oldest] = this.#window;
      if (channel === undefined || oldest === undefined) return;
      const since = Math.max(oldest.sentAt, this.#unblockedAt);
      const leftMs = since + this.#limitOf(oldest) - this.#options.clock.now();
      if (leftMs > 0 || this.#blocked !== undefined) this.#watch(Math.max(leftMs, 100));
      else this.#abandon(channel, oldest);
    });
  }

  #limitOf({ lane }: Sending): number {
    return this.#options.confirmTimeoutMs * (lane.isOpen ? 1 : PROBE_SHARE);
  }

  #abandon(channel: ConfirmChannel, { lane }: Sending): void {
    const reason = `no confirm for a message to ${lane.name}: sending again on another channel`;
    this.#options.listener?.({ event: "bus.fault", reason });
    this.#lose(new Error(reason));
    channel.close().catch((error: unknown) => {
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

  #accuse(fault: unknown): void {
    if (!isRefusal(fault)) return;
    const [first] = this.#window;
    if (this.#suspects === 0 || first === undefined) {
      this.#suspects = this.#count;
      return;
    }
    this.#suspects--;
    const detail = `the broker refuses ${first.key}`;
    this.#decide(first, new FabricError("bus.unroutable", detail, { cause: fault }));
  }

  #compact(): void {
    this.#calledOff = 0;
    this.#waiting = new Deque([...this.#waiting].filter(({ over }) => !over));
    for (const lane of this.#lanes.values()) lane.compact();
  }

  #abortable(plain: Sending, signal: AbortSignal): Sending {
    const giveUp = (): void => {
      this.#decide(sending, new FabricError("bus.timeout", "the publish was called off"));
      if (++this.#calledOff > MAX_CALLED_OFF && this.#calledOff > this.#undecided) this.#compact();
    };
    const settle = (run: () => void): void => {
      signal.removeEventListener("abort", giveUp);
      run();
    };
    const sending: Sending = {
      ...plain,
      resolve: () => settle(plain.resolve),
      reject: (error) => settle(() => plain.reject(error)),
    };
    if (signal.aborted) {
      sending.over = true;
      sending.reject(new FabricError("bus.timeout", "the publish was called off"));
    } else signal.addEventListener("abort", giveUp, { once: true });
    return sending;
  }
}

/** In place of bytes that nobody waits for. */
const NOTHING = Buffer.alloc(0);
/** So many are kept at most before they are forgotten together. */
const MAX_CALLED_OFF = 1_000;

function unroutable(key: string): FabricError {
  return new FabricError("bus.unroutable", `no queue takes ${key}`);
}

/** ACCESS_REFUSED and PRECONDITION_FAILED: about one message, and for good. */
function isRefusal(fault: unknown): boolean {
  return fault instanceof Error && "code" in fault && (fault.code === 403 || fault.code === 406);
}
