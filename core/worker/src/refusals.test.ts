/** Refusals are counted within limits, whatever the flood; the table is a list in memory. */
import type { Database, Refusal } from "@linkspan/store";
import type { Logger } from "pino";
import { expect, test } from "vitest";
import { Refusals } from "./refusals.ts";

function counter() {
  const state = { rows: [] as Refusal[], away: false, now: new Date("2026-05-01T10:00:30Z") };
  const pool = {
    query: async ({ text, values }: { text: string; values: string[][] }) => {
      if (state.away) throw Object.assign(new Error("away"), { code: "ECONNREFUSED" });
      if (!text.startsWith("INSERT")) return { rows: [] };
      const [minutes = [], kinds = [], workspaces = [], subjects = [], codes = [], counts = []] = values;
      state.rows.push(
        ...subjects.map((subject, i) => ({
          minute: new Date(minutes[i] ?? ""),
          kind: kinds[i] ?? "",
          workspaceId: workspaces[i] ?? "",
          subject,
          code: codes[i] ?? "",
          count: Number(counts[i]),
        })),
      );
      return { rows: [] };
    },
  };
  const log = { warn: () => undefined } as unknown as Logger;
  const options = { now: () => state.now, log, subjects: 10, flushMs: 60_000 };
  return { state, refusals: new Refusals({ pool } as unknown as Database, options) };
}

const refusal = (subject: string, kind: "unauthorized" | "bus" = "unauthorized") =>
  ({ kind, workspaceId: "_", subject, code: "request.unauthorized" }) as const;

const total = (rows: readonly Refusal[]) => rows.reduce((sum, { count }) => sum + count, 0);

test("a minute's flood from many is one row for each of a few, and one for the others, by kind", async () => {
  const { state, refusals } = counter();
  for (let i = 0; i < 100_000; i++) refusals.note(refusal(`address:${i % 5_000}`));
  await refusals.flush();
  for (let i = 0; i < 1_000; i++) refusals.note(refusal(`address:${i}`));
  refusals.note(refusal("key:one", "bus"));
  await refusals[Symbol.asyncDispose]();
  expect(new Set(state.rows.map(({ subject }) => subject)).size).toBe(12);
  expect(total(state.rows)).toBe(101_001);
  expect(state.rows.find(({ kind }) => kind === "bus")?.subject).toBe("key:one");
});

test("each minute counts anew", async () => {
  const { state, refusals } = counter();
  for (let i = 0; i < 20; i++) refusals.note(refusal(`first:${i}`));
  state.now = new Date("2026-05-01T10:01:00Z");
  refusals.note(refusal("second"));
  await refusals[Symbol.asyncDispose]();
  expect(state.rows.map(({ minute, subject }) => [minute.toISOString(), subject])).toContainEqual([
    "2026-05-01T10:01:00.000Z",
    "second",
  ]);
});

test("while the database is away the counts stay, within bounds, and are written when it is back", async () => {
  const { state, refusals } = counter();
  state.away = true;
  for (let i = 0; i < 50; i++) refusals.note(refusal("address:a"));
  await refusals.flush();
  refusals.note(refusal("address:a"));
  state.away = false;
  await refusals[Symbol.asyncDispose]();
  expect(state.rows).toMatchObject([{ subject: "address:a", count: 51 }]);
});

test.each(["x".repeat(1_000_000), "key:a\0b", "key:\ud800", `${"x".repeat(199)}😀`])(
  "what is counted can be stored, whatever its sender wrote: %#",
  async (subject) => {
    const { state, refusals } = counter();
    refusals.note(refusal(subject));
    await refusals[Symbol.asyncDispose]();
    const [row] = state.rows;
    expect(row?.subject.length).toBeLessThanOrEqual(200);
    expect(row?.subject.isWellFormed()).toBe(true);
    expect(row?.subject).not.toContain("\0");
  },
);
