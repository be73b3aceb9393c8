import type { Database } from "@linkspan/store";
import { pino } from "pino";
import { afterEach, expect, test, vi } from "vitest";
import { Wakes } from "./wakes.ts";

afterEach(() => vi.useRealTimers());

function listening() {
  const notified: unknown[] = [];
  let answer = (): Promise<unknown> => Promise.resolve({ rows: [] });
  const pool = {
    query: ({ values }: { values: unknown[] }) => {
      notified.push(values[1]);
      return answer();
    },
    connect: () => Promise.reject(new Error("this database only takes statements")),
  };
  const wakes = new Wakes();
  wakes.listen({ pool } as unknown as Database, pino({ level: "silent" }));
  return { wakes, notified, fail: () => (answer = () => Promise.reject(new Error("gone"))) };
}

test("any number of announcements is one NOTIFY in five milliseconds per kind; none of them is lost", async () => {
  vi.useFakeTimers();
  const { wakes, notified } = listening();
  for (let i = 0; i < 1_000; i++) wakes.announce("outbox");
  wakes.announce("positions");
  await vi.advanceTimersByTimeAsync(0);
  expect(notified).toEqual(["outbox", "positions"]);
  for (let i = 0; i < 1_000; i++) wakes.announce("outbox");
  await vi.advanceTimersByTimeAsync(4);
  expect(notified).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(1);
  expect(notified).toEqual(["outbox", "positions", "outbox"]);
});

test("an announcement wakes this process at once, whatever becomes of the NOTIFY", async () => {
  vi.useFakeTimers();
  const { wakes, fail } = listening();
  fail();
  let woken = 0;
  wakes.on("outbox", () => (woken += 1), new AbortController().signal);
  wakes.announce("outbox");
  expect(woken).toBe(1);
  await vi.advanceTimersByTimeAsync(10);
  wakes.announce("outbox");
  expect(woken).toBe(2);
});

test("disposing leaves no timer behind", async () => {
  const { wakes, notified } = listening();
  wakes.announce("outbox");
  await wakes[Symbol.asyncDispose]();
  wakes.announce("outbox");
  await new Promise((resolve) => setImmediate(resolve));
  expect(notified).toEqual([]);
});
