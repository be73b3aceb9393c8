import { expect, test, vi } from "vitest";
import { changesOf, stateOfProcess } from "./process-state.ts";

const nothing = (): void => undefined;

test("a process that nothing changed is the same", () => {
  expect(changesOf(stateOfProcess(), stateOfProcess())).toEqual([]);
});

test.each<[string, () => () => void]>([
  [
    "environment LINKSPAN_TRACE",
    () => {
      process.env["LINKSPAN_TRACE"] = "1";
      return () => delete process.env["LINKSPAN_TRACE"];
    },
  ],
  [
    "listener SIGUSR2 0",
    () => {
      process.on("SIGUSR2", nothing);
      return () => process.off("SIGUSR2", nothing);
    },
  ],
  [
    "exit code",
    () => {
      const before = process.exitCode;
      process.exitCode = 3;
      return () => (process.exitCode = before);
    },
  ],
  [
    "Array.prototype.sort",
    () => {
      const spy = vi.spyOn(Array.prototype, "sort");
      return () => spy.mockRestore();
    },
  ],
  [
    "Math.random",
    () => {
      const spy = vi.spyOn(Math, "random");
      return () => spy.mockRestore();
    },
  ],
  [
    "globalThis.leftBehind",
    () => {
      vi.stubGlobal("leftBehind", nothing);
      return () => vi.unstubAllGlobals();
    },
  ],
  [
    "globalThis.setTimeout",
    () => {
      vi.useFakeTimers();
      return () => vi.useRealTimers();
    },
  ],
])("%s is found while it is changed", (name, change) => {
  const before = stateOfProcess();
  const back = change();
  const during = changesOf(before, stateOfProcess());
  back();
  expect(during).toContain(name);
  expect(changesOf(before, stateOfProcess())).toEqual([]);
});
