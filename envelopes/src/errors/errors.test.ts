import { expect, test } from "vitest";
import { blameOf, CODES, FabricError, isErrorCode, isFabricError } from "./errors.ts";

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

test("only what a message's own content can cause is blamed on it; everything else is waited out", () => {
  const blamed = Object.entries(CODES).filter(([, { blame }]) => blame === "message");
  const groups = new Set(blamed.map(([code]) => code.split(".")[0] ?? ""));
  expect([...groups].sort((a, b) => a.localeCompare(b))).toEqual([
    "action",
    "bus",
    "envelope",
    "intent",
    "media",
    "platform",
    "policy",
    "request",
    "store",
    "ticket",
    "topic",
  ]);
  for (const [code, { retry }] of blamed) expect([code, retry]).toEqual([code, "never"]);
  for (const code of [
    "bus.unavailable",
    "bus.unroutable",
    "bus.timeout",
    "store.unavailable",
    "vault.sealed",
    "vault.unavailable",
    "vault.conflict",
    "vault.revoked",
    "vault.lease_expired",
    "flag.disabled",
    "policy.unavailable",
    "lease.lost",
    "lease.held",
    "platform.auth_expired",
    "platform.unavailable",
    "platform.rate_limited",
    "send.uncertain",
    "internal",
  ] as const) {
    expect([code, blameOf(new FabricError(code, ""))]).toEqual([code, "surroundings"]);
  }
  expect(blameOf(new FabricError("store.rejected", "22021"))).toBe("message");
  expect([blameOf(new TypeError("a bug")), blameOf(undefined)]).toEqual(["unknown", "unknown"]);
});
