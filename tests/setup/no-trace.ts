/** Fails a file of unit tests that leaves the process otherwise than it found it: other files run in the same one. */
import { afterAll, expect, vi } from "vitest";
import { changesOf, stateOfProcess } from "./process-state.ts";

const found = stateOfProcess();

afterAll(() => {
  expect(vi.isFakeTimers(), "the file leaves fake timers").toBe(false);
  expect(changesOf(found, stateOfProcess()), "the file leaves changes to the process").toEqual([]);
});
