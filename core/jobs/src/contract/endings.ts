import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect } from "vitest";
import { z } from "zod";
import { defineJob } from "../jobs.ts";
import type { Case } from "./case.ts";
import { held } from "./held.ts";

const slow = defineJob("test.slow", z.strictObject({ n: z.int() }));
const elsewhere = defineJob("test.elsewhere", z.strictObject({}));

export const endings: Readonly<Record<string, Case>> = {
  "gives the work of a killed process to another one": async (bench) => {
    const jobs = await bench.open();
    await jobs.enqueue(held, { n: 1 });
    const program = new URL("./victim.ts", import.meta.url).pathname;
    const victim = spawn(process.execPath, [program, bench.url, bench.queue, String(bench.lockMs)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    await once(victim.stdout, "data"); // it has taken the job
    const seen: unknown[] = [];
    await jobs.work(held, async (payload, { attempt }) => void seen.push({ ...payload, attempt }));
    victim.kill("SIGKILL");
    await once(victim, "exit");
    expect(seen).toEqual([]);
    await bench.settles(() => expect(seen).toEqual([{ n: 1, attempt: 1 }]));
  },

  "leaves a job to the process that has its handler": async (bench) => {
    const [one, two] = [await bench.open(), await bench.open()];
    await one.work(slow, async () => undefined);
    await two.enqueue(elsewhere, {});
    let ran = 0;
    await two.work(elsewhere, async () => {
      ran += 1;
    });
    await bench.settles(() => expect(ran).toBe(1));
  },

  "waits, when closed, for what is in flight and does not run it again": async (bench) => {
    const jobs = await bench.open();
    const gate = Promise.withResolvers<void>();
    const log: string[] = [];
    await jobs.work(slow, async ({ n }, { signal }) => {
      log.push(`start ${n}`);
      await gate.promise;
      log.push(`end ${n}, told ${signal.aborted}`);
    });
    await jobs.enqueue(slow, { n: 1 });
    await bench.settles(() => expect(log).toEqual(["start 1"]));
    const closed = jobs[Symbol.asyncDispose]().then(() => log.push("closed"));
    gate.resolve();
    await closed;
    expect(log).toEqual(["start 1", "end 1, told true", "closed"]);
    await expect(jobs.enqueue(slow, { n: 2 })).rejects.toMatchObject({ code: "store.unavailable" });

    const next = await bench.open();
    const after: number[] = [];
    await next.work(slow, async ({ n }) => void after.push(n));
    await next.enqueue(slow, { n: 3 }, { delayMs: bench.lockMs * 2.5 });
    await bench.settles(() => expect(after).toContain(3));
    expect(after).toEqual([3]);
  },

  "takes nothing more once drained, and loses nothing": async (bench) => {
    const jobs = await bench.open();
    const seen: number[] = [];
    await jobs.work(slow, async ({ n }) => void seen.push(n));
    await jobs.enqueue(slow, { n: 1 });
    await bench.settles(() => expect(seen).toEqual([1]));
    await jobs.drain();
    await jobs.enqueue(slow, { n: 2 });

    const other = await bench.open();
    const there: number[] = [];
    await other.work(slow, async ({ n }) => void there.push(n));
    await bench.settles(() => expect(there).toEqual([2]));
    expect(seen).toEqual([1]);
  },

  "outlives its server: a running job is finished once, schedules go on": async (bench) => {
    const jobs = await bench.open(10_000); // longer than the server is unreachable
    const gate = Promise.withResolvers<void>();
    const runs: number[] = [];
    let ticks = 0;
    await jobs.work(slow, async ({ n }) => {
      runs.push(n);
      if (n === 1) await gate.promise;
    });
    await jobs.work(elsewhere, async () => {
      ticks += 1;
    });
    await jobs.repeat(elsewhere, {}, { everyMs: 200 });
    await jobs.enqueue(slow, { n: 1 });
    await bench.settles(() => expect(runs).toEqual([1]));
    await bench.settles(() => expect(ticks).toBeGreaterThan(1));

    const crashed = bench.crash();
    gate.resolve();
    await crashed;
    const before = ticks; // a second attempt at the first would come before the delay is over
    await bench.settles(() => expect(ticks).toBeGreaterThan(before + 2));
    await jobs.enqueue(slow, { n: 2 }, { delayMs: 2_000 });
    await bench.settles(() => expect(runs).toContain(2));
    expect(runs).toEqual([1, 2]);
  },
};
