/**
 * The time in which one part may be sent. It closes by itself when its time is over, or the lease runs out before: who
 * does not hold the instance sends nothing.
 */
import { end } from "@linkspan/time";
import type { Clock } from "../shared/clock.ts";
import { UncertainSend, type Window } from "../connector.ts";

/** How long a connector may take to notice that its window closed, milliseconds. */
export const GRACE_MS = 2_000;
/** How often the end of a window is looked at, milliseconds. */
const LOOK_MS = 500;

export class SendWindow implements Window, Disposable {
  readonly untilMs: number;
  readonly signal: AbortSignal;
  /** Rejects with {@link UncertainSend} when the connector does not come back from it. */
  readonly overrun: Promise<never>;
  readonly #clock: Clock;
  readonly #heldUntilMs: () => number;
  readonly #closing = new AbortController();
  readonly #term: AbortSignal;
  readonly #onTermEnd = () => this.#endWithTerm();
  readonly #reject: (error: UncertainSend) => void;
  #cancelTimer: () => void = () => undefined;

  /**
   * @param untilMs on the monotonic clock
   * @param heldUntilMs until when the instance is held; a renewal moves it
   * @param term aborted when the term ends
   */
  constructor(untilMs: number, heldUntilMs: () => number, clock: Clock, term: AbortSignal) {
    this.untilMs = untilMs;
    this.signal = this.#closing.signal;
    this.#heldUntilMs = heldUntilMs;
    this.#clock = clock;
    this.#term = term;
    const overrun = Promise.withResolvers<never>();
    overrun.promise.catch(() => undefined);
    this.overrun = overrun.promise;
    this.#reject = overrun.reject;
    if (term.aborted) this.#endWithTerm();
    else {
      term.addEventListener("abort", this.#onTermEnd, { once: true });
      this.#watch();
    }
  }

  [Symbol.dispose](): void {
    this.#cancelTimer();
    this.#term.removeEventListener("abort", this.#onTermEnd);
    end(this.#closing);
  }

  #watch(): void {
    const leftMs = Math.min(this.untilMs, this.#heldUntilMs()) - this.#clock.monotonicMs();
    // A timer that was set before the machine was suspended is late by that time.
    if (leftMs > 0) this.#cancelTimer = this.#clock.after(Math.min(leftMs, LOOK_MS), () => this.#watch());
    else this.#close();
  }

  #close(): void {
    end(this.#closing);
    this.#cancelTimer = this.#clock.after(GRACE_MS, () => this.#overran());
  }

  #endWithTerm(): void {
    this.#cancelTimer();
    this.#closing.abort(this.#term.reason);
    this.#overran();
  }

  #overran(): void {
    this.#reject(new UncertainSend("the connector did not come back from its window"));
  }
}
