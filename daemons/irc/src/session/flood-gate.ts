import type { Clock } from "@linkspan/daemon-kit";

/**
 * Lines per second that the server accepts, as a token bucket. The kit paces whole messages; this gate counts every
 * line that we write, and none passes faster, whoever asks. After an "Excess Flood" it keeps half the pace.
 */
export class FloodGate {
  readonly #clock: Pick<Clock, "monotonicMs">;
  #perSecond: number;
  #burst: number;
  #tokens: number;
  #atMs: number;
  readonly #least: number;

  constructor(
    pace: { readonly perSecond: number; readonly burst: number },
    clock: Pick<Clock, "monotonicMs">,
  ) {
    this.#clock = clock;
    this.#perSecond = pace.perSecond;
    this.#burst = pace.burst;
    this.#tokens = pace.burst;
    this.#atMs = clock.monotonicMs();
    this.#least = Math.min(pace.perSecond, 0.2);
  }

  get perSecond(): number {
    return this.#perSecond;
  }

  /** Takes the lines if they may be written now. @returns 0, or how many milliseconds to wait before asking again */
  pass(lines: number): number {
    const nowMs = this.#clock.monotonicMs();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((nowMs - this.#atMs) / 1_000) * this.#perSecond);
    this.#atMs = nowMs;
    const missing = Math.min(lines, this.#burst) - this.#tokens;
    if (missing > 0) return Math.ceil((missing / this.#perSecond) * 1_000);
    this.#tokens -= lines;
    return 0;
  }

  /** The server ended the connection for flooding: half the pace from now on. */
  slowDown(): void {
    this.#perSecond = Math.max(this.#least, this.#perSecond / 2);
    this.#burst = Math.max(2, Math.floor(this.#burst / 2));
    this.#tokens = Math.min(this.#tokens, this.#burst);
  }

  /** A new connection starts with a full bucket. */
  restart(): void {
    this.#tokens = this.#burst;
    this.#atMs = this.#clock.monotonicMs();
  }
}
