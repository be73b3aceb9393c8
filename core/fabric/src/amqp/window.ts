/**
 * How many messages the broker may have on their way to one consumer. The broker counts messages only, the bound
 * on memory is in bytes: when large messages pass the bound, the window becomes so small that the largest messages
 * fit into it, and it grows back as they become small again or none has come for a while.
 *
 * Another window needs another channel, and the broker puts what the old channel had not acknowledged in front of
 * the queue, but behind what other channels have given back before. So the window changes again only after all
 * that was given back has come again: the order would be lost otherwise.
 */
import { MAX_BODY_BYTES } from "../headers.ts";

export interface WindowLimits {
  readonly maxInFlight: number;
  readonly maxBytes: number;
}

/** AMQP's prefetch count is 16 bits. */
const MAX_PREFETCH = 65_535;
/** The share of the newest message in the average size. */
const WEIGHT = 1 / 32;
/** How much larger it becomes at once: what is large again must not overrun the bound by far. */
const MAX_GROWTH = 8;

export class Window {
  /** The size at which the largest messages keep the bound. */
  readonly smallest: number;
  readonly #limits: WindowLimits;
  readonly #full: number;
  #size: number;
  #average = 0;
  /** How many have arrived on this channel. */
  #arrived = 0;
  /** How many the channels before may have given back that had not arrived again. */
  #givenBack = 0;

  constructor(limits: WindowLimits) {
    this.#limits = limits;
    this.#full = Math.min(limits.maxInFlight, MAX_PREFETCH);
    this.smallest = Math.max(1, Math.min(this.#full, Math.floor(limits.maxBytes / MAX_BODY_BYTES)));
    this.#size = this.#full;
  }

  get size(): number {
    return this.#size;
  }

  get isFull(): boolean {
    return this.#size === this.#full;
  }

  arrived(bytes: number): void {
    this.#average += (bytes - this.#average) * WEIGHT;
    this.#arrived++;
  }

  /** The channel is gone: the broker has taken back what was not acknowledged. */
  channelLost(): void {
    this.#givenBack = Math.max(0, this.#givenBack - this.#arrived) + this.#size;
    this.#arrived = 0;
  }

  /** So many messages of so many bytes were too much. */
  shrink(count: number, bytes: number): void {
    this.#average = bytes / count;
    this.#size = this.smallest;
  }

  /** Whether another channel keeps the order, and what has come allows a window twice as large, or the full one. */
  get canGrow(): boolean {
    if (this.isFull || this.#arrived < Math.max(this.#givenBack, 2 * this.#size)) return false;
    return this.#fitting() >= Math.min(this.#full, 2 * this.#size);
  }

  grow(): void {
    this.#size = Math.min(this.#fitting(), this.#size * MAX_GROWTH);
  }

  /** Nothing has come for a while. */
  reset(): void {
    this.#size = this.#full;
  }

  #fitting(): number {
    const fitting = Math.floor(this.#limits.maxBytes / Math.max(1, this.#average));
    return Math.max(1, Math.min(this.#full, fitting));
  }
}
