import { uptime } from "node:os";
import { FabricError } from "@linkspan/envelopes";

/** Time and random numbers as the bus needs them; both come in from outside, so that a simulation can control them. */
export interface Clock {
  /** Monotonic milliseconds from an arbitrary start. */
  now(): number;
  /**
   * How long the machine has been suspended, milliseconds from an arbitrary start. `now` and every timer stand still
   * meanwhile, and the clocks of other machines do not. Absent: it never is.
   */
  suspendedMs?(): number;
  /** Runs once, at least that much later and never at once. @returns cancels it */
  after(afterMs: number, run: () => void): () => void;
}

/** Uniform in [0, 1). */
export type Random = () => number;

export const systemClock: Clock = {
  now: () => performance.now(),
  // The system's uptime includes the time in which it was suspended; it is exact to 10 ms.
  suspendedMs: () => uptime() * 1_000 - performance.now(),
  after(afterMs, run) {
    if (afterMs <= 0) {
      const soon = setImmediate(run);
      return () => clearImmediate(soon);
    }
    const timer = setTimeout(run, Math.min(afterMs, LONGEST_TIMER_MS));
    return () => clearTimeout(timer);
  },
};

/** Milliseconds that have passed for everybody, from an arbitrary start: those in which the machine was suspended, too. */
export function passedMs(clock: Clock): number {
  return clock.now() + suspendedMs(clock);
}

export function suspendedMs(clock: Clock): number {
  return clock.suspendedMs?.() ?? 0;
}

/** Node fires timers beyond this at once; everything that waits looks at `now` again when it wakes. */
const LONGEST_TIMER_MS = 2_147_483_647;

/** The timers of one owner, so that its end leaves none behind. */
export class Timers implements Clock {
  readonly #clock: Clock;
  readonly #pending = new Set<() => void>();
  #ended = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): number {
    return this.#clock.now();
  }

  /** Once ended it starts nothing more: whoever waits for a timer must also watch for the end. */
  after(afterMs: number, run: () => void): () => void {
    if (this.#ended) return () => undefined;
    const stop = this.#clock.after(afterMs, () => {
      this.#pending.delete(cancel);
      run();
    });
    const cancel = (): void => {
      this.#pending.delete(cancel);
      stop();
    };
    this.#pending.add(cancel);
    return cancel;
  }

  end(): void {
    this.#ended = true;
    for (const cancel of this.#pending) cancel();
  }
}

/** Resolves at least that much later; at once when the signal is aborted. */
export function sleep(clock: Clock, afterMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve();
      return;
    }
    const done = (): void => {
      cancel();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const cancel = clock.after(afterMs, done);
    signal?.addEventListener("abort", done, { once: true });
  });
}

/** Fails when the work takes longer, as a broker may never answer. @throws FabricError (rejects) `bus.timeout` */
export function within<T>(clock: Clock, timeoutMs: number, what: string, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(timeoutMs, () =>
      reject(new FabricError("bus.timeout", `${what} took longer than ${timeoutMs} ms`)),
    );
    work.then(resolve, reject).finally(cancel);
  });
}
