import { EventEmitter } from "node:events";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { pino } from "pino";
import { type FaultOptions, watchFaults } from "./faults.ts";
import { LOG_OPTIONS } from "./log-options.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function world(options: Partial<FaultOptions> = {}) {
  const source = new EventEmitter();
  const lines: Record<string, unknown>[] = [];
  const write = (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>);
  const log = pino(LOG_OPTIONS, { write });
  const fail = vi.fn<(reason: string) => void>();
  const onFault = vi.fn<NonNullable<FaultOptions["onFault"]>>();
  const watching = watchFaults({ log, fail, onFault, source, ...options });
  return { source, lines, fail, onFault, watching };
}

test("a rejection that nobody handled is logged with its place and counted, and ends nothing", () => {
  const { source, lines, fail, onFault } = world({ partOf: () => "irc.primary" });
  source.emit("unhandledRejection", new TypeError("PASS hunter2"));
  expect(lines).toEqual([
    expect.objectContaining({
      level: 50,
      event: "process.unhandled_rejection",
      part: "irc.primary",
    }),
  ]);
  expect(lines[0]?.["err"]).toMatchObject({ name: "TypeError" });
  expect(JSON.stringify(lines)).toContain("faults.test.ts");
  expect(JSON.stringify(lines)).not.toContain("hunter2");
  expect(onFault).toHaveBeenCalledWith("rejection", "irc.primary");
  expect(fail).not.toHaveBeenCalled();
});

test("what is rejected may be anything", () => {
  const { source, lines, onFault } = world();
  for (const reason of [undefined, null, 0, "text", {}, Object.create(null)]) {
    source.emit("unhandledRejection", reason);
  }
  expect(onFault).toHaveBeenCalledTimes(6);
  expect(lines.length).toBeGreaterThan(0);
});

test("an exception of nobody's part stops the process with a failure", () => {
  const { source, lines, fail } = world({ contain: () => false });
  source.emit("uncaughtException", new Error("x"));
  expect(fail).toHaveBeenCalledOnce();
  expect(lines).toEqual([expect.objectContaining({ level: 60, event: "process.uncaught_exception" })]);
});

test("an exception of a part that is started again does not", () => {
  const contain = vi.fn(() => true);
  const { source, lines, fail } = world({ contain });
  const error = new Error("x");
  source.emit("uncaughtException", error);
  expect(contain).toHaveBeenCalledWith(error);
  expect(fail).not.toHaveBeenCalled();
  expect(lines).toEqual([expect.objectContaining({ level: 50 })]);
});

test("a fault that repeats writes a line a minute with their number, and counts each", () => {
  const { source, lines, onFault } = world();
  const again = () => source.emit("unhandledRejection", new Error("x"));
  for (let n = 0; n < 1_000; n += 1) again();
  expect(lines).toHaveLength(1);
  vi.advanceTimersByTime(60_000);
  again();
  expect(lines).toHaveLength(2);
  expect(lines[1]).toMatchObject({ times: 1_000 });
  expect(onFault).toHaveBeenCalledTimes(1_001);
});

test("faults of ever new names write a bounded number of lines", () => {
  const { source, lines } = world();
  for (let n = 0; n < 1_000; n += 1) {
    const error = new Error("x");
    error.name = `E${n}`;
    source.emit("unhandledRejection", error);
  }
  expect(lines.length).toBeLessThanOrEqual(101);
});

test("disposed, it handles nothing any more", () => {
  const { source, watching } = world();
  watching[Symbol.dispose]();
  expect(source.listenerCount("unhandledRejection") + source.listenerCount("uncaughtException")).toBe(0);
});
