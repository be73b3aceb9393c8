/**
 * Limits how often an action may happen, by key: the generic cell rate algorithm. It keeps one number per
 * key, the moment at which the key's budget is full again, and forgets the least recently used keys.
 */
export interface Rate {
  readonly perSecond: number;
  /** How many are allowed at once after a pause; at least 1. */
  readonly burst: number;
}

/**
 * Largest wait that {@link RateLimiter.charge} can cause, milliseconds; further charges do not increase it.
 */
const MAX_DEBT_MS = 10_000;

export class RateLimiter {
  readonly #intervalMs: number;
  readonly #toleranceMs: number;
  readonly #maxKeys: number;
  /** A map keeps its insertion order: the first key is the least recently used. */
  readonly #wholeAtMs = new Map<string, number>();

  /** @param maxKeys keys remembered at most */
  constructor({ perSecond, burst }: Rate, maxKeys: number) {
    this.#intervalMs = 1_000 / perSecond;
    this.#toleranceMs = (burst - 1) * this.#intervalMs;
    this.#maxKeys = maxKeys;
  }

  /**
   * Takes from the key's budget.
   *
   * @param nowMs of a clock that never goes back
   * @param cost how much to take; a cost above the whole budget is accepted when any budget is left
   * @returns 0 when it was taken; else nothing was taken, and this is how long to wait, milliseconds
   */
  take(key: string, nowMs: number, cost = 1): number {
    const wholeAtMs = Math.max(this.#wholeAtMs.get(key) ?? 0, nowMs);
    const waitMs = this.waitMs(key, nowMs);
    this.#remember(key, waitMs === 0 ? wholeAtMs + cost * this.#intervalMs : wholeAtMs);
    return waitMs;
  }

  /**
   * Charges an action that has already happened: also when no budget is left, as long as the wait is 10 s at
   * most.
   */
  charge(key: string, nowMs: number): void {
    const wholeAtMs = Math.max(this.#wholeAtMs.get(key) ?? 0, nowMs);
    const isInDebt = wholeAtMs - nowMs - this.#toleranceMs > MAX_DEBT_MS;
    this.#remember(key, isInDebt ? wholeAtMs : wholeAtMs + this.#intervalMs);
  }

  /** The answer that {@link take} would give; nothing is taken. */
  waitMs(key: string, nowMs: number): number {
    const waitMs = (this.#wholeAtMs.get(key) ?? 0) - nowMs - this.#toleranceMs;
    // A wait below a microsecond is a rounding error.
    return waitMs <= 0.001 ? 0 : waitMs;
  }

  get size(): number {
    return this.#wholeAtMs.size;
  }

  #remember(key: string, wholeAtMs: number): void {
    this.#wholeAtMs.delete(key);
    this.#wholeAtMs.set(key, wholeAtMs);
    if (this.#wholeAtMs.size <= this.#maxKeys) return;
    const oldest = this.#wholeAtMs.keys().next().value;
    if (oldest !== undefined) this.#wholeAtMs.delete(oldest);
  }
}
