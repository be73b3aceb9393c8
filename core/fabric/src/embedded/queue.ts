/** One queue of the embedded broker: waiting messages and who takes them. */
import type { FabricError } from "@linkspan/envelopes";
import type { Binding, Death, Outgoing, QueueSpec } from "../bus.ts";
import type { Clock } from "../clock.ts";
import { Deque } from "../deque.ts";
import type { Faults } from "./faults.ts";
import type { Receipt } from "./receipt.ts";

export interface Entry {
  /** Its place in the queue, kept when it comes back. */
  readonly order: number;
  readonly message: Outgoing;
  readonly death: Death | undefined;
  readonly expiresAt: number;
  receipt: Receipt | undefined;
  redelivered: boolean;
}

export interface Consumer {
  /** Whether another delivery of that size keeps its bounds. */
  fits(bytes: number): boolean;
  deliver(entry: Entry): void;
}

export interface QueueLimits {
  readonly maxCount: number;
  readonly maxBytes: number;
}

/** Bytes that all queues of a broker hold together. */
export interface Memory {
  bytes: number;
  readonly maxBytes: number;
}

export class Queue {
  readonly spec: QueueSpec;
  readonly bindings: Binding[];
  readonly #clock: Clock;
  readonly #faults: Faults;
  readonly #limits: QueueLimits;
  readonly #memory: Memory;
  readonly #consumers: Consumer[] = [];
  #waiting = new Deque<Entry>();
  #bytes = 0;
  #entries = 0;
  #pumping = false;

  constructor(spec: QueueSpec, clock: Clock, faults: Faults, limits: QueueLimits, memory: Memory) {
    this.spec = spec;
    this.bindings = [...spec.bindings];
    this.#clock = clock;
    this.#faults = faults;
    this.#limits = limits;
    this.#memory = memory;
  }

  get size(): number {
    return this.#waiting.size;
  }

  get isConsumed(): boolean {
    return this.#consumers.length > 0;
  }

  get consumers(): number {
    return this.#consumers.length;
  }

  get isFull(): boolean {
    const full = () =>
      this.#waiting.size >= this.#limits.maxCount ||
      this.#bytes >= this.#limits.maxBytes ||
      this.#memory.bytes >= this.#memory.maxBytes;
    if (full()) this.#dropExpired();
    return full();
  }

  offer(message: Outgoing, receipt: Receipt | undefined, death?: Death): void {
    const expiresAt =
      message.ttlMs === undefined ? Number.POSITIVE_INFINITY : this.#clock.now() + message.ttlMs;
    const order = this.#entries++;
    this.#waiting.push({ order, message, death, expiresAt, receipt, redelivered: false });
    this.#add(message.body.length);
    this.wake();
  }

  add(consumer: Consumer): void {
    this.#consumers.push(consumer);
    this.wake();
  }

  /** Deliveries that the consumer had not settled go back to their place. */
  remove(consumer: Consumer, unsettled: Iterable<Entry>): void {
    const at = this.#consumers.indexOf(consumer);
    if (at >= 0) this.#consumers.splice(at, 1);
    const back = [...unsettled];
    if (back.length > 0) {
      for (const entry of back) {
        entry.redelivered = true;
        this.#add(entry.message.body.length);
      }
      const all = [...back, ...this.#waiting].sort((a, b) => a.order - b.order);
      this.#waiting = new Deque(all);
    }
    this.wake();
  }

  /** Gives up all that waits; its publishers learn this error, or, without one, that it is settled. */
  empty(errorFor?: (entry: Entry) => FabricError): void {
    for (const entry of this.#waiting) {
      if (errorFor === undefined) entry.receipt?.settled();
      else entry.receipt?.failed(errorFor(entry));
    }
    this.#waiting.clear();
    this.#add(-this.#bytes);
  }

  /** Something arrived or a consumer has room again. */
  wake(): void {
    if (this.#pumping || this.#consumers.length === 0 || this.#waiting.size === 0) return;
    this.#pumping = true;
    this.#clock.after(this.#faults.deliverMs?.(this.spec.name) ?? 0, () => {
      this.#pumping = false;
      this.#pump();
    });
  }

  #add(bytes: number): void {
    this.#bytes += bytes;
    this.#memory.bytes += bytes;
  }

  #pump(): void {
    for (let entry = this.#waiting.peek(); entry !== undefined; entry = this.#waiting.peek()) {
      const expired = entry.expiresAt <= this.#clock.now();
      const consumer = expired ? undefined : this.#taker(entry.message.body.length);
      if (!expired && consumer === undefined) return;
      this.#waiting.shift();
      this.#add(-entry.message.body.length);
      if (consumer === undefined) entry.receipt?.settled();
      else consumer.deliver(entry);
    }
  }

  /** The one active consumer of a partition; of the others, each in turn. */
  #taker(bytes: number): Consumer | undefined {
    if (this.spec.kind !== "shared") return this.#consumers[0]?.fits(bytes) ? this.#consumers[0] : undefined;
    const at = this.#consumers.findIndex((consumer) => consumer.fits(bytes));
    const [consumer] = at < 0 ? [] : this.#consumers.splice(at, 1);
    if (consumer !== undefined) this.#consumers.push(consumer);
    return consumer;
  }

  #dropExpired(): void {
    const now = this.#clock.now();
    const kept = new Deque<Entry>();
    for (const entry of this.#waiting) {
      if (entry.expiresAt > now) kept.push(entry);
      else {
        entry.receipt?.settled();
        this.#add(-entry.message.body.length);
      }
    }
    this.#waiting = kept;
  }
}
