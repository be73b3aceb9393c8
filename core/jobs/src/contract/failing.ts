import { FabricError } from "@linkspan/envelopes";
import { expect } from "vitest";
import { z } from "zod";
import { defineJob } from "../jobs.ts";
import type { Case } from "./case.ts";

const backoff = { type: "exponential", delayMs: 150 } as const;
const flaky = defineJob("test.flaky", z.strictObject({ text: z.string() }), { attempts: 3, backoff });
const mark = defineJob("test.mark", z.strictObject({}));

export const failures: Readonly<Record<string, Case>> = {
  "tries again with growing pauses and counts": async (bench) => {
    const jobs = await bench.open();
    const tries: { attempt: number; at: number }[] = [];
    await jobs.work(flaky, async (_, { attempt }) => {
      tries.push({ attempt, at: Date.now() });
      if (attempt < 3) throw new Error("not yet");
    });
    await jobs.enqueue(flaky, { text: "x" });
    await bench.settles(() => expect(tries.map(({ attempt }) => attempt)).toEqual([1, 2, 3]));
    const [first = 0, second = 0, third = 0] = tries.map(({ at }) => at);
    expect(second - first).toBeGreaterThanOrEqual(150);
    expect(third - second).toBeGreaterThanOrEqual(300);
  },

  "gives up after the last attempt, which the caller may set": async (bench) => {
    const jobs = await bench.open();
    const tries: number[] = [];
    await jobs.work(flaky, async (_, { attempt }) => {
      tries.push(attempt);
      throw new Error("never");
    });
    await jobs.enqueue(flaky, { text: "x" }, { attempts: 2, backoff: { type: "fixed", delayMs: 20 } });
    await bench.settles(() => expect(tries).toEqual([1, 2]));
    await afterAWhile(bench, jobs);
    expect(tries).toEqual([1, 2]);
  },

  "does not try again what can never succeed": async (bench) => {
    const jobs = await bench.open();
    let tries = 0;
    await jobs.work(flaky, async () => {
      tries += 1;
      throw new FabricError("policy.denied", "no");
    });
    await jobs.enqueue(flaky, { text: "x" });
    await bench.settles(() => expect(tries).toBe(1));
    await afterAWhile(bench, jobs);
    expect(tries).toBe(1);
  },

  "comes back at the time that it asked for, and that is no attempt": async (bench) => {
    const jobs = await bench.open();
    const tries: { attempt: number; at: number }[] = [];
    await jobs.work(flaky, async (_, { attempt }) => {
      tries.push({ attempt, at: Date.now() });
      if (tries.length < 5)
        throw new FabricError("platform.rate_limited", "slow down", { retryAfterMs: 100 });
    });
    await jobs.enqueue(flaky, { text: "x" });
    await bench.settles(() => expect(tries.map(({ attempt }) => attempt)).toEqual([1, 1, 1, 1, 1]));
    expect((tries[4]?.at ?? 0) - (tries[0]?.at ?? 0)).toBeGreaterThanOrEqual(400);
  },

  "logs a failure without what it was about": async (bench) => {
    const jobs = await bench.open();
    await jobs.work(flaky, async ({ text }) => {
      throw new Error(`cannot send ${text}`);
    });
    await jobs.enqueue(flaky, { text: "canary-7c1f" }, { attempts: 1 });
    await bench.settles(() => expect(bench.events.map(({ event }) => event)).toContain("job.failed"));
    expect(JSON.stringify(bench.events)).not.toContain("canary");
  },

  "refuses a payload that does not fit, without repeating it": async (bench) => {
    const jobs = await bench.open();
    const wrong = JSON.parse('{"text":7,"canary-7c1f":1}') as { text: string };
    const refused = jobs.enqueue(flaky, wrong);
    await expect(refused).rejects.toMatchObject({ code: "internal" });
    await expect(refused).rejects.not.toThrow(/canary/);
  },
};

/** Long enough that another attempt would have come: a job due after it has run. */
async function afterAWhile(
  bench: Parameters<Case>[0],
  jobs: Awaited<ReturnType<Parameters<Case>[0]["open"]>>,
) {
  let passed = false;
  await jobs.work(mark, async () => {
    passed = true;
  });
  await jobs.enqueue(mark, {}, { delayMs: 700 });
  await bench.settles(() => expect(passed).toBe(true));
}
