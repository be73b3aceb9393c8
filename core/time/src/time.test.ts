import { expect, test } from "vitest";
import { suspensions } from "./clock.ts";
import { aborted, backoffMs, childOf, type Clock, sleep, systemClock, within } from "./index.ts";

/** Time that passes when the test says so. */
function manual() {
  const timers = new Map<() => void, number>();
  let nowMs = 0;
  const clock: Clock = {
    now: () => nowMs,
    after(afterMs, run) {
      timers.set(run, nowMs + afterMs);
      return () => timers.delete(run);
    },
  };
  return {
    clock,
    timers,
    pass: (ms: number): void => {
      nowMs += ms;
      for (const [run, atMs] of timers) if (atMs <= nowMs && timers.delete(run)) run();
    },
  };
}

test("a wait doubles from its first to its longest, and only its upper half is random", () => {
  const backoff = { minMs: 100, maxMs: 1_000 };
  expect([1, 2, 3, 4, 5, 99].map((failures) => backoffMs(backoff, failures, () => 0))).toEqual([
    50, 100, 200, 400, 500, 500,
  ]);
  expect(backoffMs(backoff, 1, () => 1)).toBe(100);
  const drawn = backoffMs(backoff, 2);
  expect(drawn).toBeGreaterThanOrEqual(100);
  expect(drawn).toBeLessThanOrEqual(200);
});

test("a sleep ends in time or with its signal, and leaves no timer", async () => {
  const { clock, timers, pass } = manual();
  const slept = sleep(clock, 10);
  pass(10);
  await slept;
  const stop = new AbortController();
  const cut = sleep(clock, 10, stop.signal);
  stop.abort();
  await cut;
  await sleep(clock, 10, stop.signal);
  expect(timers.size).toBe(0);
});

test.each([1, 2, 3, 4])(
  "a suspension after reading %i of the start is in none of the later times",
  (reading) => {
    const time = { uptimeMs: 100_000, monotonicMs: 40_000, wallMs: 1_900_000_000_000 };
    let readings = 0;
    const read = (name: keyof typeof time) => () => {
      const now = time[name];
      if (++readings === reading) {
        time.uptimeMs += 600_000;
        time.wallMs += 600_000;
      }
      return now;
    };
    const suspendedMs = suspensions(read("uptimeMs"), read("monotonicMs"), read("wallMs"));
    const before = suspendedMs();
    time.wallMs -= 3_600_000;
    expect(suspendedMs()).toBe(before);
  },
);

test("only a suspension changes how long the machine was suspended, not how exact its clocks are", () => {
  const time = { uptimeMs: 100_000, monotonicMs: 40_000.3, wallMs: 1_900_000_000_000 };
  let reads = 0;
  const suspendedMs = suspensions(
    () => {
      reads++;
      return time.uptimeMs;
    },
    () => time.monotonicMs,
    () => time.wallMs,
  );
  const before = suspendedMs();
  for (const [uptimeMs, monotonicMs, wallMs] of [
    [100_000, 40_009.9, 1_900_000_000_010],
    [100_010, 40_009.91, 1_900_000_000_010],
    [100_010, 40_030, 1_900_000_000_029],
    // The time of day was set, each time.
    [100_010, 40_030, 1_900_000_500_029],
    [100_040, 40_030.1, 1_800_000_000_000],
  ] as const) {
    Object.assign(time, { uptimeMs, monotonicMs, wallMs });
    expect(suspendedMs()).toBe(before);
  }
  // Once at the start, and when the time of day was set.
  expect(reads).toBe(3);
  Object.assign(time, { uptimeMs: 700_000, monotonicMs: 40_031, wallMs: 1_800_000_600_000 });
  expect(suspendedMs() - before).toBeCloseTo(599_969, -2);
});

test("work is waited for until its time is over, and its error is passed on", async () => {
  const { clock, timers, pass } = manual();
  expect(await within(10, Promise.resolve(1), clock)).toBe(true);
  await expect(within(10, Promise.reject(new Error("no")), clock)).rejects.toThrow("no");
  expect(timers.size).toBe(0);
  const work = Promise.withResolvers<void>();
  const late = within(10, work.promise, clock);
  pass(10);
  expect(await late).toBe(false);
  // Nobody waits for it any more: it must not become an unhandled rejection.
  work.reject(new Error("later"));
  expect(await within(1_000, sleep(systemClock, 0))).toBe(true);
});

test("a signal is aborted with each of those that it belongs to", async () => {
  const [one, two] = [new AbortController(), new AbortController()];
  const child = childOf(one.signal, two.signal);
  two.abort("why");
  await aborted(child.signal);
  expect(child.signal.reason).toBe("why");
  await aborted(childOf(two.signal).signal);
});
