import { EventEmitter } from "node:events";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { stopOnSignals } from "./stop-request.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function world() {
  const source = new EventEmitter();
  const lines: string[] = [];
  const codes: number[] = [];
  const stop = stopOnSignals({
    source,
    tell: (line) => lines.push(line),
    end: (code) => codes.push(code),
  });
  return { source, lines, codes, stop };
}

describe("signals that come together are one request", () => {
  test.each([
    ["the terminal's and npm's", ["SIGINT", "SIGINT"]],
    ["the process group's and npm's", ["SIGTERM", "SIGTERM", "SIGTERM"]],
    ["a closed terminal's", ["SIGHUP", "SIGTERM", "SIGHUP"]],
  ])("%s", (_what, signals) => {
    const { source, lines, codes, stop } = world();
    expect(stop.signal.aborted).toBe(false);
    for (const signal of signals) {
      source.emit(signal);
      vi.advanceTimersByTime(300);
    }
    expect([stop.signal.aborted, stop.signal.reason, stop.failed]).toEqual([true, signals[0], false]);
    expect([lines, codes]).toEqual([[], []]);
  });
});

test.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
])("after the message that says so, %s ends it at once", (signal, code) => {
  const { source, lines, codes } = world();
  source.emit("SIGINT");
  vi.advanceTimersByTime(1_000);
  expect(lines).toEqual([expect.stringContaining("a further Ctrl-C")]);
  expect(codes).toEqual([]);
  source.emit(signal);
  expect(codes).toEqual([code]);
});

test("a stop that hangs is ended, with a failure", () => {
  const { source, lines, codes } = world();
  source.emit("SIGTERM");
  vi.advanceTimersByTime(29_999);
  expect(codes).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(codes).toEqual([1]);
  expect(lines.at(-1)).toContain("longer than 30 s");
});

test("a fault asks for the same stop, with the same limit, and is remembered", () => {
  const { source, codes, stop } = world();
  stop.fail("uncaught exception");
  source.emit("SIGINT");
  expect([stop.signal.reason, stop.failed]).toEqual(["uncaught exception", true]);
  vi.advanceTimersByTime(30_000);
  expect(codes).toEqual([1]);
});
