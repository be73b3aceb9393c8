/**
 * How often something may happen, by key: the generic cell rate algorithm. It keeps one number per key, the
 * moment at which the key's budget is whole again, and forgets the least recently used keys.
 */
export interface Rate {
  readonly perSecond: number;
  /** How many may come at once after a pause; at least 1. */
  readonly burst: number;
}

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
   * Takes one from the key's budget.
   *
   * @param nowMs of a clock that never goes back
   * @returns 0 when it was taken; else nothing was taken, and this is how long to wait, milliseconds
   */
  take(key: string, nowMs: number): number {
    const wholeAtMs = Math.max(this.#wholeAtMs.get(key) ?? 0, nowMs);
    const waitMs = wholeAtMs - nowMs - this.#toleranceMs;
    // Below a microsecond it is rounding, not a debt.
    const taken = waitMs <= 0.001;
    this.#remember(key, taken ? wholeAtMs + this.#intervalMs : wholeAtMs);
    return taken ? 0 : waitMs;
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
