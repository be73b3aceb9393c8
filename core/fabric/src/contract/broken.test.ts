import { describe, expect, test } from "vitest";
import { BROKEN, broken } from "./broken.ts";
import { BUS_CASES } from "./bus-contract.ts";
import { embeddedHarness } from "./embedded-harness.ts";

/** A broken driver may also hang, which no case waits for by itself. */
const HANGS_MS = 1_500;

describe("a broken driver that", () => {
  for (const [fault, { fails, ...change }] of Object.entries(BROKEN)) {
    test.concurrent.for(fails)(`${fault} fails: %s`, async (title, { expect }) => {
      const run = BUS_CASES[title];
      if (run === undefined) throw new Error("no such case");
      await using harness = broken(embeddedHarness(400), change);
      const passed = run(harness).then(() => "passed");
      const hung = new Promise<never>((_, reject) => {
        setTimeout(() => reject(new Error("hung")), HANGS_MS);
      });
      await expect(Promise.race([passed, hung])).rejects.toThrow();
    });
  }
});

test("every case is proven by a broken driver", () => {
  const proven = new Set(Object.values(BROKEN).flatMap(({ fails }) => fails));
  expect(Object.keys(BUS_CASES).filter((title) => !proven.has(title))).toEqual([]);
});
