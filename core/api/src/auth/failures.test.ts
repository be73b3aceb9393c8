import { expect, test } from "vitest";
import { AuthFailures } from "./failures.ts";

const limits = { failures: 2, windowMs: 1_000, remembered: 2 };

function fail(failures: AuthFailures, address: string, times: number, nowMs: number): void {
  for (let i = 0; i < times; i++) failures.failed(address, "bad", nowMs);
}

test("an address is blocked after its failures, until its window ends", () => {
  const failures = new AuthFailures(limits);
  fail(failures, "a", 1, 0);
  expect(failures.blockedMs("a", "bad", 10)).toBe(0);
  fail(failures, "a", 1, 20);
  expect(failures.blockedMs("a", "bad", 100)).toBe(900);
  expect(failures.blockedMs("b", "bad", 100)).toBe(0);
  expect(failures.blockedMs("a", "bad", 1_000)).toBe(0);
  fail(failures, "a", 1, 1_000);
  expect(failures.blockedMs("a", "bad", 1_001)).toBe(0);
});

test("a token that was good is tried also from a blocked address, until it fails", () => {
  const failures = new AuthFailures(limits);
  failures.succeeded("good");
  fail(failures, "a", 2, 0);
  expect(failures.blockedMs("a", "good", 1)).toBe(0);
  expect(failures.blockedMs("a", undefined, 1)).toBe(999);
  failures.failed("a", "good", 1);
  expect(failures.blockedMs("a", "good", 1)).toBe(999);
});

test("memory is bounded: the oldest address and the oldest token are forgotten", () => {
  const failures = new AuthFailures(limits);
  for (const address of ["a", "b", "c"]) fail(failures, address, 2, 0);
  expect(["a", "b", "c"].map((address) => failures.blockedMs(address, undefined, 1) > 0)).toEqual([
    false,
    true,
    true,
  ]);
  for (const token of ["x", "y", "z"]) failures.succeeded(token);
  expect(["x", "y", "z"].map((token) => failures.blockedMs("b", token, 1) > 0)).toEqual([true, false, false]);
});
