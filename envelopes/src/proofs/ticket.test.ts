import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toBase64url } from "../codec/base64url.ts";
import { canonical } from "../codec/canonical.ts";
import { type ErrorCode, FabricError } from "../errors/errors.ts";
import { type KeyRecord, KeyRing } from "./keys.ts";
import { ENVELOPE_TYPE, type Signer, signerFromSeed, TICKET_TYPE } from "../codec/sign.ts";
import {
  assertTicketFor,
  mintTicket,
  openTicket,
  openTicketLater,
  type TicketClaims,
  type TicketExpectation,
  type TicketUse,
  ticketHash,
  ticketStamp,
} from "./ticket.ts";

const NOW = new Date("2026-11-20T12:00:00.000Z");
const DAEMON = "daemon:irc:libera";
const core = signerFromSeed(randomBytes(32));
const daemon = signerFromSeed(randomBytes(32));
const HASH = toBase64url(randomBytes(32));
const CHANNEL = "msgr://channels/ws1/bridge/irc/libera/%23linkspan";

const SEND: TicketClaims = {
  ...ticketStamp(["send"], NOW),
  iss: "core",
  aud: DAEMON,
  cnf: daemon.kid,
  workspace_id: "ws1",
  identity_id: "id-1",
  service: "irc",
  actions: ["outbound_message"],
  capabilities: ["send"],
  conversation: CHANNEL,
  intent_hash: HASH,
  attempt: 1,
};

function record(signer: Signer, changes: Partial<KeyRecord> = {}): KeyRecord {
  return {
    kid: signer.kid,
    public_key_b64u: toBase64url(signer.publicKey),
    issuers: ["core"],
    purposes: ["envelope", "ticket"],
    services: ["*"],
    workspaces: ["*"],
    not_before: "2026-01-01T00:00:00.000Z",
    not_after: "2036-01-01T00:00:00.000Z",
    ...changes,
  };
}

function expectation(changes: Partial<TicketExpectation> = {}): TicketExpectation {
  return { keys: new KeyRing([record(core)]), now: NOW, audience: DAEMON, cnf: daemon.kid, ...changes };
}

function codeOf(act: () => unknown): ErrorCode | "accepted" {
  try {
    act();
    return "accepted";
  } catch (error) {
    if (error instanceof FabricError) return error.code;
    throw error;
  }
}

/** The same of both ways to open it. */
async function outcomeOf(compact: string | undefined, expected: TicketExpectation): Promise<string> {
  const code = codeOf(() => openTicket(compact, expected));
  const [opened] = await Promise.allSettled([openTicketLater(compact, expected)]);
  const later = opened.status === "fulfilled" ? "accepted" : (opened.reason as FabricError).code;
  expect(later).toBe(code);
  return code;
}

function later(seconds: number): Date {
  return new Date(NOW.getTime() + seconds * 1_000);
}

/** Signs what `mintTicket` would refuse. */
function forge(claims: unknown, type = TICKET_TYPE, signer = core): string {
  const body = canonical(claims);
  return `${signer.kid}.${toBase64url(body)}.${signer.sign(type, body)}`;
}

test("a minted ticket opens to the same claims", () => {
  const compact = mintTicket(SEND, core);
  expect(openTicket(compact, expectation())).toEqual(SEND);
  expect(ticketHash(compact)).toMatch(/^[A-Za-z0-9_-]{43}$/);
});

test("a stamp lives as long as the strictest capability allows", () => {
  const life = (stamp: Pick<TicketClaims, "iat" | "exp">) => stamp.exp - stamp.iat;
  expect(life(ticketStamp(["send"], NOW))).toBe(60);
  expect(life(ticketStamp(["sync"], NOW))).toBe(300);
  expect(life(ticketStamp(["session"], NOW))).toBe(3_600);
  expect(life(ticketStamp(["session", "sync"], NOW))).toBe(300);
});

describe("openTicket refuses", async () => {
  const compact = mintTicket(SEND, core);
  const [kid, payload, signature] = compact.split(".") as [string, string, string];

  test.each<[string, string | undefined, ErrorCode]>([
    ["no ticket", undefined, "ticket.missing"],
    ["an empty ticket", "", "ticket.missing"],
    ["two parts", `${kid}.${payload}`, "ticket.invalid"],
    ["four parts", `${compact}.x`, "ticket.invalid"],
    ["an unknown key", `${daemon.kid}.${payload}.${signature}`, "ticket.invalid"],
    ["a kid that walks", `../../keys.${payload}.${signature}`, "ticket.invalid"],
    ["a padded signature", `${compact}==`, "ticket.invalid"],
    ["a short signature", `${kid}.${payload}.${signature.slice(0, 40)}`, "ticket.invalid"],
    ["a megabyte", `${compact}${"A".repeat(1_000_000)}`, "ticket.invalid"],
  ])("%s", async (_what, text, code) => {
    expect(await outcomeOf(text, expectation())).toBe(code);
  });

  test("the signature of an envelope, over the very same bytes", async () => {
    expect(await outcomeOf(forge(SEND, ENVELOPE_TYPE), expectation())).toBe("ticket.invalid");
  });

  test("any claim flipped under an old signature", async () => {
    for (const changed of [
      { workspace_id: "ws2" },
      { exp: SEND.exp + 1 },
      { actions: ["outbound_delete"] },
    ]) {
      const body = toBase64url(canonical({ ...SEND, ...changed }));
      expect(await outcomeOf(`${kid}.${body}.${signature}`, expectation())).toBe("ticket.invalid");
    }
  });

  test("bytes that are signed but not canonical, not JSON, or not UTF-8", async () => {
    const signed = (body: Uint8Array) => `${core.kid}.${toBase64url(body)}.${core.sign(TICKET_TYPE, body)}`;
    const text = Buffer.from(canonical(SEND)).toString("utf8");
    const bodies = [` ${text}`, text.replace("{", '{"aud":"x",'), "", "[".repeat(6_000), "\ufeff{}"];
    for (const body of [...bodies.map((b) => Buffer.from(b)), Buffer.from([0x7b, 0xff, 0x7d])]) {
      expect(await outcomeOf(signed(body), expectation())).toBe("ticket.invalid");
    }
  });

  test.each<[string, object]>([
    ["an unknown member", { alg: "none" }],
    ["a life longer than its capability's", { exp: SEND.iat + 61 }],
    ["an end before its start", { exp: SEND.iat, nbf: SEND.iat }],
    ["a send without an intent", { intent_hash: undefined }],
    ["a send without an attempt", { attempt: undefined }],
    ["a session with a conversation", { capabilities: ["session"], ...ticketStamp(["session"], NOW) }],
    ["no capability", { capabilities: [] }],
    ["a fractional time", { iat: SEND.iat + 0.5 }],
    ["an issuer that is not the core", { iss: "backend:shop" }],
  ])("%s", async (_what, changes) => {
    const claims: Record<string, unknown> = { ...SEND, ...changes };
    for (const name of Object.keys(claims)) if (claims[name] === undefined) delete claims[name];
    expect(await outcomeOf(forge(claims), expectation())).toBe("ticket.invalid");
  });

  test("a member called __proto__", async () => {
    const body = Buffer.from(Buffer.from(canonical(SEND)).toString("utf8").replace("{", '{"__proto__":{},'));
    const forged = `${core.kid}.${toBase64url(body)}.${core.sign(TICKET_TYPE, body)}`;
    expect(await outcomeOf(forged, expectation())).toBe("ticket.invalid");
  });

  test.each<[string, Partial<KeyRecord>]>([
    ["not for tickets", { purposes: ["envelope"] }],
    ["revoked", { revoked_at: "2026-11-20T11:00:00.000Z" }],
    ["not yet in force", { not_before: "2026-11-21T00:00:00.000Z" }],
    ["run out", { not_after: "2026-11-20T00:00:00.000Z" }],
    ["another issuer's", { issuers: ["daemon:irc:libera"] }],
    ["another service's", { services: ["xmpp"] }],
    ["another workspace's, by prefix", { workspaces: ["ws10", "ws"] }],
  ])("a key that is %s", async (_what, changes) => {
    const keys = new KeyRing([record(core, changes)]);
    expect(await outcomeOf(compact, expectation({ keys }))).toBe("ticket.invalid");
  });

  test("another daemon, and the same daemon with another key", async () => {
    expect(await outcomeOf(compact, expectation({ audience: "daemon:irc:oftc" }))).toBe(
      "ticket.wrong_audience",
    );
    expect(await outcomeOf(compact, expectation({ cnf: core.kid }))).toBe("ticket.wrong_audience");
  });

  test("what is past its time, beyond 30 s of skew either way", async () => {
    const at = (seconds: number) => outcomeOf(compact, expectation({ now: later(seconds) }));
    expect(await Promise.all([-31, -30, 0, 89, 90].map(at))).toEqual([
      "ticket.invalid",
      "accepted",
      "accepted",
      "accepted",
      "ticket.expired",
    ]);
  });
});

test("assertTicketFor compares every member, each alone", () => {
  const use: TicketUse = {
    workspaceId: "ws1",
    identityId: "id-1",
    service: "irc",
    action: "outbound_message",
    capability: "send",
    conversation: CHANNEL,
    intentHash: HASH,
    attempt: 1,
  };
  expect(codeOf(() => assertTicketFor(SEND, use))).toBe("accepted");
  const others: Partial<TicketUse>[] = [
    { workspaceId: "ws10" },
    { identityId: "id-2" },
    { service: "xmpp" },
    { action: "outbound_delete" },
    { capability: "admin" },
    { conversation: `${CHANNEL}2` },
    { conversation: undefined },
    { intentHash: toBase64url(randomBytes(32)) },
    { attempt: 2 },
  ];
  for (const other of others) {
    expect(codeOf(() => assertTicketFor(SEND, { ...use, ...other }))).toBe("ticket.wrong_destination");
  }
});

test("an error names no value of the ticket", () => {
  try {
    assertTicketFor(SEND, { workspaceId: "ws1", identityId: "other", service: "irc" });
    expect.unreachable();
  } catch (error) {
    expect(String(error)).not.toContain("id-1");
  }
});

test("any text whatever is a ticket or a ticket error", async () => {
  const anyText = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(fc.base64String(), { minLength: 3, maxLength: 3 }).map((parts) => parts.join(".")),
    fc.uint8Array({ maxLength: 64 }).map((body) => {
      return `${core.kid}.${toBase64url(body)}.${core.sign(TICKET_TYPE, body)}`;
    }),
    fc.jsonValue().map((value) => {
      const body = Buffer.from(JSON.stringify(value));
      return `${core.kid}.${toBase64url(body)}.${core.sign(TICKET_TYPE, body)}`;
    }),
  );
  await fc.assert(
    fc.asyncProperty(anyText, async (text) => {
      expect(["ticket.missing", "ticket.invalid"]).toContain(await outcomeOf(text, expectation()));
    }),
  );
});
