/**
 * Time and timers of one connection, on a clock that comes from outside. A timer's work runs inside the guard, and no
 * timer fires once the connection is over.
 */
import { type Clock, pause } from "@linkspan/daemon-kit";

/** Runs work that a timer or the socket calls: what it throws ends the connection of this identity and nothing else. */
export type Guard = (work: () => void) => void;

export class Timers {
  /** Aborted when the connection is over. */
  readonly over: AbortSignal;
  readonly #clock: Clock;
  readonly #guard: Guard;
  readonly #pending = new Set<AbortController>();

  constructor(clock: Clock, guard: Guard, over: AbortSignal) {
    this.#clock = clock;
    this.#guard = guard;
    this.over = over;
    over.addEventListener("abort", () => this.#cancelAll(), { once: true });
  }

  now(): Date {
    return this.#clock.now();
  }

  /** Milliseconds that never go back; only differences mean something. */
  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }

  /** Runs the work once, that many milliseconds later. @returns cancels it */
  after(afterMs: number, work: () => void): () => void {
    if (this.over.aborted) return () => undefined;
    const off = new AbortController();
    this.#pending.add(off);
    void pause(this.#clock, afterMs, off.signal).then(() => {
      this.#pending.delete(off);
      if (!off.signal.aborted) this.#guard(work);
    });
    return () => off.abort();
  }

  /** Resolves that many milliseconds later, or when the connection is over. */
  async sleep(ms: number): Promise<void> {
    await pause(this.#clock, ms, this.over);
  }

  #cancelAll(): void {
    for (const off of this.#pending) off.abort();
  }
}
