import { expect, test } from "vitest";
import { Pace } from "./pace.ts";

function paceAt(perSecond: number, burst: number) {
  const clock = { ms: 1_000 };
  return { clock, pace: new Pace({ perSecond, burst }, () => clock.ms) };
}

test("a burst goes at once, then the sustained pace holds", () => {
  const { clock, pace } = paceAt(2, 3);
  for (let i = 0; i < 3; i++) {
    expect(pace.delayMs(1)).toBe(0);
    pace.take(1);
  }
  expect(pace.delayMs(1)).toBe(500);
  clock.ms += 500;
  expect(pace.delayMs(1)).toBe(0);
});

test("callers who wait are counted: the next one waits longer", () => {
  const { pace } = paceAt(1, 1);
  pace.take(1);
  expect(pace.delayMs(1)).toBe(1_000);
  pace.take(1);
  expect(pace.delayMs(1)).toBe(2_000);
});

test("tokens do not pile up beyond the burst, and one that is dearer waits for a full bucket", () => {
  const { clock, pace } = paceAt(1, 2);
  clock.ms += 3_600_000;
  pace.take(2);
  expect(pace.delayMs(1)).toBe(1_000);
  expect(pace.delayMs(50)).toBe(2_000);
});

test("what was not used is given back", () => {
  const { pace } = paceAt(1, 1);
  pace.take(1);
  pace.giveBack(1);
  expect(pace.delayMs(1)).toBe(0);
});

test("a throttle closes the bucket, and a shorter one does not open it", () => {
  const { clock, pace } = paceAt(10, 10);
  pace.closeFor(5_000);
  pace.closeFor(1_000);
  expect(pace.delayMs(1)).toBe(5_000);
  clock.ms += 5_000;
  expect(pace.delayMs(1)).toBe(0);
});
