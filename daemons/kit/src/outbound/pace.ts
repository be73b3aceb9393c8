/** A token bucket on the monotonic clock: the pace that one identity keeps towards its platform. */
export class Pace {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #nowMs: () => number;
  /** Tokens at `#atMs`; below zero: promised to callers who are still waiting. */
  #tokens: number;
  #atMs: number;
  #closedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(pace: { readonly perSecond: number; readonly burst: number }, nowMs: () => number) {
    this.#perSecond = pace.perSecond;
    this.#burst = pace.burst;
    this.#nowMs = nowMs;
    this.#tokens = pace.burst;
    this.#atMs = nowMs();
  }

  /** Milliseconds until `cost` tokens are there; nothing is taken. */
  delayMs(cost: number): number {
    this.#refill();
    const missing = Math.min(cost, this.#burst) - this.#tokens;
    const untilTokensMs = missing <= 0 ? 0 : Math.ceil((missing / this.#perSecond) * 1_000);
    return Math.max(untilTokensMs, Math.ceil(this.#closedUntilMs - this.#nowMs()), 0);
  }

  /** Takes the tokens, which the caller must wait for as {@link delayMs} said. */
  take(cost: number): void {
    this.#refill();
    this.#tokens -= cost;
  }

  /** Gives back what was taken and not used. */
  giveBack(cost: number): void {
    this.#refill();
    this.#tokens = Math.min(this.#burst, this.#tokens + cost);
  }

  /** The platform asked to be left alone. */
  closeFor(ms: number): void {
    this.#closedUntilMs = Math.max(this.#closedUntilMs, this.#nowMs() + ms);
  }

  #refill(): void {
    const nowMs = this.#nowMs();
    const gained = ((nowMs - this.#atMs) / 1_000) * this.#perSecond;
    this.#tokens = Math.min(this.#burst, this.#tokens + gained);
    this.#atMs = nowMs;
  }
}
