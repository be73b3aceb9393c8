import { CODES, type ErrorCode, FabricError } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { headersOf, problemOf, ProblemSchema, statusOf, toFabricError } from "./problem.ts";

test("every code has a status that says whose turn it is", () => {
  for (const code of Object.keys(CODES) as ErrorCode[]) {
    const status = statusOf(code);
    expect(status, code).toBeGreaterThanOrEqual(400);
    // A request that may succeed later is not the caller's fault.
    if (CODES[code].retry === "backoff") expect(status, code).toBeGreaterThanOrEqual(500);
    if (code.startsWith("request.")) expect(status, code).toBeLessThan(500);
  }
});

test("a problem carries the code, its help and what happened", () => {
  const problem = problemOf(new FabricError("intent.conflict", "used before"), "r1");
  expect(ProblemSchema.parse(problem)).toEqual({
    type: "/problems/intent.conflict",
    code: "intent.conflict",
    title: CODES["intent.conflict"].help,
    detail: "used before",
    status: 409,
    instance: "r1",
  });
});

test("a wait is told in milliseconds and, rounded up, in the header", () => {
  const error = new FabricError("platform.rate_limited", "slow down", { retryAfterMs: 1_200 });
  expect(problemOf(error, "r1").retry_after_ms).toBe(1_200);
  expect(headersOf(error)).toEqual({ "retry-after": "2" });
  expect(headersOf(new FabricError("store.unavailable", "away"))).toEqual({ "retry-after": "1" });
  expect(headersOf(new FabricError("request.invalid", "wrong"))).toEqual({});
});

test("what nobody foresaw tells nothing of itself", () => {
  const error = toFabricError(new Error("password is hunter2"));
  expect(JSON.stringify(problemOf(error, "r1"))).not.toContain("hunter2");
  expect(error.code).toBe("internal");
  expect(toFabricError("thrown text").code).toBe("internal");
});
