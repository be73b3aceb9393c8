import { expect } from "vitest";
import { z } from "zod";
import { defineJob } from "../jobs.ts";
import type { Case } from "./case.ts";

const note = defineJob("test.note", z.strictObject({ text: z.string() }));
const other = defineJob("test.other", z.strictObject({}));

export const timing: Readonly<Record<string, Case>> = {
  "runs a job with its payload, once": async (bench) => {
    const jobs = await bench.open();
    const seen: unknown[] = [];
    await jobs.work(note, async (payload, { attempt }) => void seen.push({ ...payload, attempt }));
    await jobs.enqueue(note, { text: "héllo" });
    await bench.settles(() => expect(seen).toEqual([{ text: "héllo", attempt: 1 }]));
  },

  "runs what was enqueued before anybody worked": async (bench) => {
    const jobs = await bench.open();
    await jobs.enqueue(note, { text: "early" });
    const seen: string[] = [];
    await jobs.work(note, async ({ text }) => void seen.push(text));
    await bench.settles(() => expect(seen).toEqual(["early"]));
  },

  "runs a delayed job not before its time": async (bench) => {
    const jobs = await bench.open();
    const seen: { text: string; at: number }[] = [];
    await jobs.work(note, async ({ text }) => void seen.push({ text, at: Date.now() }));
    const from = Date.now();
    await jobs.enqueue(note, { text: "late" }, { delayMs: 400 });
    await jobs.enqueue(note, { text: "now" });
    await bench.settles(() => expect(seen.map(({ text }) => text)).toEqual(["now", "late"]));
    expect((seen[1]?.at ?? 0) - from).toBeGreaterThanOrEqual(400);
  },

  "repeats a job in one schedule, however often it is asked for, until it is cancelled": async (bench) => {
    const jobs = await bench.open();
    const again = await bench.open();
    const runs: number[] = [];
    await jobs.work(note, async () => void runs.push(Date.now()));
    const began = Date.now();
    for (const who of [jobs, again, jobs]) await who.repeat(note, { text: "tick" }, { everyMs: 200 });
    await bench.settles(() => expect(runs.length).toBeGreaterThanOrEqual(10));
    // One schedule: one or two runs at once, then one in 200 ms, also when some come late. Three would take 0.7 s.
    expect((runs[9] ?? 0) - began).toBeGreaterThan(7 * 200);

    for (const who of [jobs, again]) await who.cancelRepeat(note);
    const marks: number[] = [];
    await jobs.work(other, async () => void marks.push(runs.length));
    await jobs.enqueue(other, {}, { delayMs: 300 });
    await jobs.enqueue(other, {}, { delayMs: 1_000 });
    await bench.settles(() => expect(marks).toHaveLength(2));
    expect(marks[1]).toBe(marks[0]);
    await jobs.cancelRepeat(note);
  },

  "goes on repeating after the clock was a day ahead and went back": async (bench) => {
    const jobs = await bench.open();
    let runs = 0;
    await jobs.work(note, async () => void (runs += 1));
    const tick = () => jobs.repeat(note, { text: "tick" }, { everyMs: 200 });
    const more = async () => {
      const before = runs;
      await bench.settles(() => expect(runs).toBeGreaterThan(before + 2));
    };
    const real = Date.now;
    try {
      await tick();
      await more();
      Date.now = () => real.call(Date) + 86_400_000;
      await more();
    } finally {
      Date.now = real;
    }
    await tick();
    await more();
    await jobs.cancelRepeat(note);
  },

  "repeats by the clock": async (bench) => {
    const jobs = await bench.open();
    const runs: number[] = [];
    await jobs.work(note, async () => void runs.push(Date.now() % 1_000));
    await jobs.repeat(
      note,
      { text: "tick" },
      { cron: "* * * * * *", timeZone: "Europe/Zurich" },
      { key: "a:b c" },
    );
    await bench.settles(() => expect(runs.length).toBeGreaterThanOrEqual(2));
  },
};
