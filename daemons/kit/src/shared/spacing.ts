import type { Clock } from "./clock.ts";

/** Keeps a delay between starts, so that a restart does not cause many logins at once. */
export class Spacing {
  readonly #everyMs: number;
  readonly #clock: Clock;
  #nextMs = Number.NEGATIVE_INFINITY;

  constructor(everyMs: number, clock: Clock) {
    this.#everyMs = everyMs;
    this.#clock = clock;
  }

  /** Resolves when it is the caller's turn, in the order of the calls. */
  async turn(signal: AbortSignal): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const atMs = Math.max(nowMs, this.#nextMs);
    this.#nextMs = atMs + this.#everyMs;
    if (atMs > nowMs) await this.#clock.sleep(atMs - nowMs, signal);
    signal.throwIfAborted();
  }
}
