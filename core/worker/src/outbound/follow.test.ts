import { expect, test } from "vitest";
import { leastWaitMs } from "./follow.ts";

test("a daemon that puts off everything at once causes a bounded number of rows: a day of it is less than 1,500", () => {
  const waits = Array.from({ length: 1_500 }, (_, index) => leastWaitMs(index + 1));
  expect(waits.reduce((sum, ms) => sum + ms, 0)).toBeGreaterThan(86_400_000);
});

test("who puts off a few times is believed about the length, and nobody waits for ever", () => {
  expect([1, 2, 20].map(leastWaitMs)).toEqual([0, 0, 0]);
  expect([21, 22, 2_147_483_647].map(leastWaitMs)).toEqual([200, 400, 60_000]);
});
