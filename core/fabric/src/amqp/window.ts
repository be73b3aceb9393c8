/**
 * How many messages the broker may have on their way to one consumer. The broker counts messages only, the bound
 * on memory is in bytes: large messages make the window smaller, and it grows back as they become small again
 * or none has come for a while.
 */
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
  readonly #limits: WindowLimits;
  readonly #full: number;
  #size: number;
  #average = 0;
  #since = 0;

  constructor(limits: WindowLimits) {
    this.#limits = limits;
    this.#full = Math.min(limits.maxInFlight, MAX_PREFETCH);
    this.#size = this.#full;
  }

  get size(): number {
    return this.#size;
  }

  get isFull(): boolean {
    return this.#size === this.#full;
  }

  arrived(bytes: number): void {
    if (this.isFull) return;
    this.#average += (bytes - this.#average) * WEIGHT;
    this.#since++;
  }

  /** So many messages of so many bytes were too much. */
  shrink(count: number, bytes: number): void {
    this.#average = bytes / count;
    this.#since = 0;
    this.#size = Math.max(1, Math.min(this.#fitting(), this.#size - 1));
  }

  /** Whether what came since it shrank allows one at least twice as large. */
  get canGrow(): boolean {
    return !this.isFull && this.#since >= 2 * this.#size && this.#fitting() >= 2 * this.#size;
  }

  grow(): void {
    this.#size = Math.min(this.#fitting(), this.#size * MAX_GROWTH);
    this.#since = 0;
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
