import { FabricError } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { assertHolder, assertInForce, LEASE_TERMS, type Lease, renewedUntil } from "./leases.ts";

const NOW = new Date("2026-11-20T12:00:00.000Z");
const later = (ms: number) => new Date(NOW.getTime() + ms);
const LEASE: Lease = {
  leaseId: "lease",
  secretId: "secret",
  workspaceId: "ws1",
  identityId: "id-1",
  daemon: "daemon:irc:libera",
  kid: "kid",
  epoch: 1,
  scope: "send",
  ticketHash: "hash",
  requestId: "request",
  fence: 1,
  issuedAt: NOW,
  expiresAt: later(60_000),
  maxExpiresAt: later(300_000),
  ended: undefined,
};

function codeOf(act: () => unknown): string {
  try {
    act();
    return "fine";
  } catch (error) {
    if (error instanceof FabricError) return error.code;
    throw error;
  }
}

test("a lease is in force until its end, to the millisecond", () => {
  expect(codeOf(() => assertInForce(LEASE, later(59_999)))).toBe("fine");
  expect(codeOf(() => assertInForce(LEASE, later(60_000)))).toBe("vault.lease_expired");
});

test("revoked is told apart from what asking again mends", () => {
  expect(codeOf(() => assertInForce({ ...LEASE, ended: "revoked" }, NOW))).toBe("vault.revoked");
  expect(codeOf(() => assertInForce({ ...LEASE, ended: "superseded" }, NOW))).toBe("vault.lease_expired");
  expect(codeOf(() => assertInForce({ ...LEASE, ended: "released" }, NOW))).toBe("vault.lease_expired");
  expect(codeOf(() => assertInForce({ ...LEASE, ended: "revoked" }, later(9e9)))).toBe("vault.revoked");
});

test("renewals end with the longest life", () => {
  expect(renewedUntil(LEASE, LEASE_TERMS, later(30_000))).toEqual(later(90_000));
  expect(renewedUntil(LEASE, LEASE_TERMS, later(290_000))).toEqual(later(300_000));
});

test("another's lease and one that never was are told alike", () => {
  const holder = { daemon: LEASE.daemon, kid: LEASE.kid, workspaceId: LEASE.workspaceId };
  expect(codeOf(() => assertHolder(LEASE, holder))).toBe("fine");
  expect(codeOf(() => assertHolder(LEASE, { ...holder, identityId: "id-1" }))).toBe("fine");
  const others = [
    { ...holder, daemon: "daemon:irc:oftc" },
    { ...holder, kid: "another" },
    { ...holder, workspaceId: "ws10" },
    { ...holder, identityId: "id-10" },
  ];
  const messages = new Set<string>();
  for (const [lease, other] of [[undefined, holder] as const, ...others.map((o) => [LEASE, o] as const)]) {
    try {
      assertHolder(lease, other);
      expect.unreachable();
    } catch (error) {
      messages.add(error instanceof FabricError ? `${error.code} ${error.message}` : String(error));
    }
  }
  expect([...messages]).toEqual(["envelope.wrong_issuer the sender holds no such lease"]);
});
