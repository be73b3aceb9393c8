import { uptime } from "node:os";

/** Time and random numbers; both come in from outside where a simulation controls them. */
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

/** Node fires timers beyond this at once; everything that waits looks at `now` again when it wakes. */
const LONGEST_TIMER_MS = 2_147_483_647;

/** The system's uptime is exact to 10 ms, and read at another moment: what differs by less is no suspension. */
const SUSPENSION_MS = 50;

/** The time of day jumps in a suspension. While it moves with the monotonic clock, the uptime need not be read, which costs 10 µs. */
const DRIFT_MS = 20;

/**
 * The system's uptime counts while the machine is suspended, and `performance.now` does not.
 *
 * @returns constant while the machine is not suspended, so that two clocks which it is added to agree
 */
export function suspensions(
  uptimeMs = () => uptime() * 1_000,
  monotonicMs = () => performance.now(),
  wallMs = () => Date.now(),
): () => number {
  // The time of day first, as below: the uptime then has every suspension that this does not show.
  let wallAheadMs = wallMs() - monotonicMs();
  let knownMs = uptimeMs() - monotonicMs();
  return () => {
    const aheadMs = wallMs() - monotonicMs();
    if (Math.abs(aheadMs - wallAheadMs) < DRIFT_MS) return knownMs;
    wallAheadMs = aheadMs;
    const nowMs = uptimeMs() - monotonicMs();
    if (nowMs - knownMs > SUSPENSION_MS) knownMs = nowMs;
    return knownMs;
  };
}

export const systemClock: Clock = {
  now: () => performance.now(),
  suspendedMs: suspensions(),
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
