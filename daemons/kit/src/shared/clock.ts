import { type Clock as BusClock, sleep, suspendedMs, systemClock as busClock } from "@linkspan/fabric";

/** The kit's source of time; the simulation provides a virtual one. */
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

export const systemClock: Clock = onBusClock(busClock, () => new Date());

/** Sleeps for the given time, or until aborted; the abort does not make it reject. */
export async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(ms, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** The bus's clock interface on the kit's clock. */
export function asBusClock(clock: Clock): BusClock {
  return {
    now: () => clock.monotonicMs(),
    suspendedMs: () => clock.suspendedMs?.() ?? 0,
    after: (ms, run) => clock.after(ms, run),
  };
}

/** The kit's clock on the bus's, such as the simulator's; `start` is the wall time at its zero. */
export function fromBusClock(clock: BusClock, start: Date): Clock {
  return onBusClock(clock, () => new Date(start.getTime() + clock.now()));
}

function onBusClock(clock: BusClock, now: () => Date): Clock {
  return {
    now,
    monotonicMs: () => clock.now(),
    suspendedMs: () => suspendedMs(clock),
    after: (ms, run) => clock.after(ms, run),
    sleep: async (ms, signal) => {
      await sleep(clock, ms, signal);
      signal?.throwIfAborted();
    },
  };
}
