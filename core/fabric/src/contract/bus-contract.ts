/**
 * Cases that every driver of the bus must pass; each is proven by a
 * broken driver that fails it (broken.test.ts).
 */
import { test } from "vitest";
import type { BusCase, BusHarness } from "./case.ts";
import { CONSUMING } from "./consuming.ts";
import { FAILING } from "./failing.ts";
import { PUBLISHING } from "./publishing.ts";
import { REQUESTING } from "./requesting.ts";
import { RETRYING } from "./retrying.ts";

export type { BusCase, BusHarness } from "./case.ts";
export { CountingClock } from "./counting-clock.ts";

export const BUS_CASES: Readonly<Record<string, BusCase>> = {
  ...PUBLISHING,
  ...CONSUMING,
  ...RETRYING,
  ...REQUESTING,
  ...FAILING,
};

/** Registers every case as a test; `start` gives each its own broker, or a fresh corner of one. */
export function busContract(start: () => Promise<BusHarness>): void {
  for (const [title, run] of Object.entries(BUS_CASES)) {
    test(title, async () => {
      await using harness = await start();
      await run(harness);
    });
  }
}
