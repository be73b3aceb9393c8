import { expect } from "vitest";
import { z } from "zod";
import { defineJob } from "../jobs.ts";
import type { Case } from "./case.ts";

const wake = defineJob("test.wake", z.strictObject({ n: z.int() }));

export const deduplication: Readonly<Record<string, Case>> = {
  "keeps one of many with the same key while it waits": async (bench) => {
    const jobs = await bench.open();
    const seen: number[] = [];
    for (const n of [1, 2, 3]) await jobs.enqueue(wake, { n }, { dedupKey: "a:b/c", delayMs: 200 });
    await jobs.enqueue(wake, { n: 4 }, { dedupKey: "another", delayMs: 400 });
    await jobs.work(wake, async ({ n }) => void seen.push(n));
    await bench.settles(() => expect(seen).toContain(4));
    expect(seen).toEqual([1, 4]);
  },

  "lets one more with the same key follow a running one, with the latest payload": async (bench) => {
    const jobs = await bench.open();
    const seen: number[] = [];
    const gate = Promise.withResolvers<void>();
    await jobs.work(wake, async ({ n }) => {
      seen.push(n);
      if (n === 1) await gate.promise;
    });
    await jobs.enqueue(wake, { n: 1 }, { dedupKey: "k" });
    await bench.settles(() => expect(seen).toEqual([1]));
    for (const n of [2, 3]) await jobs.enqueue(wake, { n }, { dedupKey: "k" });
    gate.resolve();
    await bench.settles(() => expect(seen).toContain(3));
    await jobs.enqueue(wake, { n: 4 }, { dedupKey: "k" });
    await bench.settles(() => expect(seen).toContain(4));
    expect(seen).toEqual([1, 3, 4]);
  },
};
