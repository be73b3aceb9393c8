import { setTimeout as delay } from "node:timers/promises";
import { type Clock as BusClock, sleep } from "@linkspan/fabric";

/** Time as the kit sees it; the simulation brings a virtual one. */
export interface Clock {
  now(): Date;
  /** Milliseconds that never go back; only differences mean something. */
  monotonicMs(): number;
  /** Rejects with the signal's reason as `cause` when it is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) => delay(ms, undefined, signal === undefined ? {} : { signal }),
};

/** Sleeps, or until aborted; never rejects for that. */
export async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(ms, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** The bus's notion of a clock on ours. */
export function asBusClock(clock: Clock): BusClock {
  return {
    now: () => clock.monotonicMs(),
    after: (ms, run) => {
      const off = new AbortController();
      void pause(clock, ms, off.signal).then(() => {
        if (!off.signal.aborted) run();
      });
      return () => off.abort();
    },
  };
}

/** Ours on the bus's, such as the simulator's; `start` is the wall time at its zero. */
export function fromBusClock(clock: BusClock, start: Date): Clock {
  return {
    now: () => new Date(start.getTime() + clock.now()),
    monotonicMs: () => clock.now(),
    sleep: async (ms, signal) => {
      await sleep(clock, ms, signal);
      signal?.throwIfAborted();
    },
  };
}
