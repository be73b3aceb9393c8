import { type Clock as Timing, sleep, suspendedMs, systemClock as systemTiming } from "@linkspan/time";

/** A clock that also knows the time of day; the simulation provides a virtual one. */
export interface Clock {
  now(): Date;
  /** Monotonic milliseconds; only differences have a meaning. */
  monotonicMs(): number;
  /** As the bus's clock has it: how long the machine has been suspended, while `monotonicMs` stands still. */
  suspendedMs?(): number;
  /** Runs once, at least that much later. @returns cancels it */
  after(ms: number, run: () => void): () => void;
  /** Rejects with the signal's reason when it is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Sleeps for the given time, or until aborted; the abort does not make it reject. */
export async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(ms, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** The timers of the kit's clock, for what knows no time of day. */
export function asBusClock(clock: Clock): Timing {
  return {
    now: () => clock.monotonicMs(),
    suspendedMs: () => clock.suspendedMs?.() ?? 0,
    after: (ms, run) => clock.after(ms, run),
  };
}

/** The kit's clock on a simulator's; `start` is the wall time at its zero. */
export function fromBusClock(clock: Timing, start: Date): Clock {
  return withDates(clock, () => new Date(start.getTime() + clock.now()));
}

export const systemClock: Clock = withDates(systemTiming, () => new Date());

function withDates(timing: Timing, now: () => Date): Clock {
  return {
    now,
    monotonicMs: () => timing.now(),
    suspendedMs: () => suspendedMs(timing),
    after: (ms, run) => timing.after(ms, run),
    sleep: async (ms, signal) => {
      await sleep(timing, ms, signal);
      signal?.throwIfAborted();
    },
  };
}
