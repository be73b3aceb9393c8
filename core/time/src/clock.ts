/** Time and random numbers; both come in from outside where a simulation controls them. */
export interface Clock {
  /** Monotonic milliseconds from an arbitrary start. */
  now(): number;
  /** Runs once, at least that much later and never at once. @returns cancels it */
  after(afterMs: number, run: () => void): () => void;
}

/** Uniform in [0, 1). */
export type Random = () => number;

/** Node fires timers beyond this at once; everything that waits looks at `now` again when it wakes. */
const LONGEST_TIMER_MS = 2_147_483_647;

export const systemClock: Clock = {
  now: () => performance.now(),
  after(afterMs, run) {
    if (afterMs <= 0) {
      const soon = setImmediate(run);
      return () => clearImmediate(soon);
    }
    const timer = setTimeout(run, Math.min(afterMs, LONGEST_TIMER_MS));
    return () => clearTimeout(timer);
  },
};

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
