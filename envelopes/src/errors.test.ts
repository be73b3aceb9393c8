import { expect, test } from "vitest";
import { CODES, FabricError, isErrorCode, isFabricError } from "./errors.ts";

test("every code has a retry rule and a sentence for a person", () => {
  for (const [code, { retry, help }] of Object.entries(CODES)) {
    expect(code).toMatch(/^[a-z]+(\.[a-z_0-9]+)?$/);
    expect(["never", "backoff", "after"]).toContain(retry);
    expect(help, code).toMatch(/^[A-Z].{20,119}\.$/);
  }
});

test("an error carries its code, its cause and when to come back", () => {
  const cause = new Error("socket");
  const error = new FabricError("platform.rate_limited", "slow down", { cause, retryAfterMs: 1_500 });
  expect([error.code, error.retryAfterMs, error.cause, error.message]).toEqual([
    "platform.rate_limited",
    1_500,
    cause,
    "slow down",
  ]);
  expect([isFabricError(error), isFabricError(cause)]).toEqual([true, false]);
  expect([isErrorCode("policy.held"), isErrorCode("toString")]).toEqual([true, false]);
});
