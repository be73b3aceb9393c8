import { expect, test } from "vitest";
import { canonicalText } from "./canonical.ts";
import { decode, decodeBatch } from "./decode.ts";
import type { DecodeOptions, Received } from "./received.ts";
import type { Envelope } from "./envelope.ts";
import { isFabricError } from "../errors/errors.ts";
import { type KeyRecord, KeyRing } from "../proofs/keys.ts";
import {
  codeOf,
  coreEnvelope,
  coreSigner,
  daemon,
  event,
  eventWith,
  NOW,
  recordOf,
  records,
  signAnything,
  signBytes,
  signed,
} from "../sample.ts";
import { parseTopic, routeOf } from "../names/topics.ts";

const options: DecodeOptions = { keys: new KeyRing(records), now: NOW };
const code = (received: Received, changes: Partial<DecodeOptions> = {}) =>
  codeOf(() => decode(received, { ...options, ...changes }));
const codeOfEnvelope = (envelope: Envelope, signer = daemon) => code(signAnything(envelope, signer));
const payload = event.payload as Record<string, unknown>;

test("hands back the very bytes that were verified", () => {
  const sent = signed();
  const opened = decode(
    { ...sent, topic: parseTopic("bridge/irc/libera/inbound_event"), route: routeOf(event, 8) },
    options,
  );
  expect(opened.body).toBe(sent.body);
  expect([opened.envelope, opened.kid, opened.action.canonical]).toEqual([
    event,
    daemon.kid,
    "inbound_event",
  ]);
});

test("an unsigned envelope is refused, whichever half is missing", () => {
  const { body, kid, sig } = signed();
  for (const received of [
    { body, kid: undefined, sig: undefined },
    { body, kid, sig: undefined },
    { body, kid: undefined, sig },
  ]) {
    expect(code(received)).toBe("envelope.unsigned");
  }
});

const from = "2026-11-20T12:00:00.000Z";
const before = "2026-11-20T11:59:59.999Z";
const after = "2026-11-20T12:00:00.001Z";

test.each<[string, Partial<KeyRecord>, string]>([
  ["revoked now", { revoked_at: from }, "envelope.revoked_key"],
  ["revoked later", { revoked_at: after }, "none"],
  ["not valid yet", { not_before: after }, "envelope.unknown_key"],
  ["valid from now", { not_before: from }, "none"],
  ["run out now", { not_after: from }, "envelope.revoked_key"],
  ["about to run out", { not_after: after }, "none"],
  ["for tickets only", { purposes: ["ticket"] }, "envelope.unknown_key"],
  ["of another issuer", { issuers: ["daemon:irc:oftc"] }, "envelope.wrong_issuer"],
  ["of a longer issuer", { issuers: ["daemon:irc:libera2"] }, "envelope.wrong_issuer"],
  ["of another service", { services: ["xmpp"] }, "envelope.wrong_issuer"],
  ["of any service", { services: ["*"] }, "none"],
  ["of another workspace", { workspaces: ["ten-90"] }, "envelope.wrong_issuer"],
  ["of this workspace", { workspaces: ["ten-9"] }, "none"],
])("a key %s", (_what, record, expected) => {
  expect(code(signed(), { keys: new KeyRing([recordOf(daemon, record)]) })).toBe(expected);
});

test("any key says hello, and speaks at namespace level, whatever services and workspaces it covers", () => {
  const keys = new KeyRing([recordOf(daemon, { workspaces: ["other"] })]);
  const hello = coreEnvelope(
    "core",
    "hello",
    { boot_id: "b", version: "1" },
    { issuer: "daemon:irc:libera", workspace_id: "_", instance: "primary" },
  );
  expect(code(signed(hello), { keys })).toBe("none");
  expect(code(signed(), { keys })).toBe("envelope.wrong_issuer");
});

test("it must arrive where it was signed for", () => {
  const sent = signed();
  for (const topic of [
    "bridge/xmpp/libera/inbound_event",
    "bridge/irc/inbound_event",
    "bridge/irc/libera/health",
  ]) {
    expect(code({ ...sent, topic: parseTopic(topic) })).toBe("envelope.misrouted");
  }
  const route = routeOf(event, 8);
  expect(code({ ...sent, route })).toBe("none");
  expect(code({ ...sent, route: { ...route, partition: (route.partition + 1) % 8 } })).toBe(
    "envelope.misrouted",
  );
  expect(code({ ...sent, route: { ...route, instance: "primary" } })).toBe("envelope.misrouted");
  expect(code({ ...sent, route: routeOf(event, 5) }, { partitions: 5 })).toBe("none");
});

test("a reply arrives on the topic of the trace it answers", () => {
  const reply = eventWith({
    action: "disconnect",
    payload: { status: "disconnected" },
    metadata: { in_reply_to: event.metadata.message_id },
  });
  const on = (trace: string) =>
    code({ ...signed(reply), topic: parseTopic(`bridge/irc/disconnect/reply/${trace}`) });
  expect(on(reply.trace_id)).toBe("none");
  expect(on(reply.trace_id.replace("c", "d"))).toBe("envelope.misrouted");
});

test("a daemon speaks for its own instance; what goes to daemons comes from the core", () => {
  const message = coreEnvelope("irc", "outbound_message", { text: "hi" });
  expect(codeOfEnvelope(message, coreSigner)).toBe("none");
  expect(codeOfEnvelope({ ...message, metadata: { ...message.metadata, issuer: "daemon:irc:libera" } })).toBe(
    "envelope.wrong_issuer",
  );
  expect(codeOfEnvelope(eventWith({ metadata: { instance: "oftc" } }))).toBe("envelope.wrong_issuer");
  expect(codeOfEnvelope(eventWith({ metadata: { issuer: "core" } }), coreSigner)).toBe(
    "envelope.wrong_issuer",
  );
  const link = coreEnvelope("irc", "link_account", {});
  expect(codeOfEnvelope(link, coreSigner)).toBe("none");
  expect(codeOfEnvelope({ ...link, metadata: { ...link.metadata, issuer: "daemon:irc:libera" } })).toBe(
    "envelope.wrong_issuer",
  );
  const changed = coreEnvelope("core", "changed", { what: "keys" }, { issuer: "daemon:irc:libera" });
  expect(codeOfEnvelope(changed)).toBe("envelope.wrong_issuer");
  expect(
    codeOfEnvelope(eventWith({ action: "health_snapshot", payload: { status: "ok", identities: 0 } })),
  ).toBe("none");
});

test("a reply has the reply's schema, or is an error", () => {
  const reply = (body: Envelope["payload"]) =>
    codeOfEnvelope(
      eventWith({
        action: "link_account",
        payload: body,
        metadata: { in_reply_to: event.metadata.message_id },
      }),
    );
  expect(reply({ status: "linked", remote: "alice", name: "Alice" })).toBe("none");
  expect(reply({ error: { code: "platform.auth_expired", detail: "no" } })).toBe("none");
  expect(reply({ error: { code: "made.up", detail: "no" } })).toBe("envelope.schema");
  expect(reply({ settings: {} })).toBe("envelope.schema");
});

test("a conversation is one of its own workspace and service", () => {
  const says = (conversation: string) => codeOfEnvelope(eventWith({ metadata: { conversation } }));
  expect(says("msgr://channels/ten-90/bridge/irc/libera/x")).toBe("envelope.schema");
  expect(says("msgr://channels/ten-9/bridge/xmpp/x")).toBe("envelope.schema");
  expect(says("msgr://channels/ten-9/bridge/irc/%FF")).toBe("envelope.schema");
  expect(says("msgr://identity/bridges/irc/x")).toBe("envelope.schema");
  const submit = coreEnvelope(
    "core",
    "submit_intent",
    { idempotency_key: "k", service: "irc", action: "a", identity_id: "i", payload: {} },
    { conversation: event.metadata.conversation ?? "" },
  );
  expect(codeOfEnvelope(submit, coreSigner)).toBe("none");
});

const health = { action: "health", payload: { status: "ok", identities: 1 } };

test.each([
  ["2026-11-19T12:00:00.000Z", "none"],
  ["2026-11-19T11:59:59.999Z", "envelope.expired"],
  ["2026-11-20T12:05:00.000Z", "none"],
  ["2026-11-20T12:05:00.001Z", "envelope.from_future"],
  ["9999-12-31T23:59:59.999Z", "envelope.from_future"],
])("a note of %s", (occurred_at, expected) => {
  expect(codeOfEnvelope(eventWith({ ...health, occurred_at }))).toBe(expected);
});

test("a note expires at its time", () => {
  const until = (expires_at: string) => codeOfEnvelope(eventWith({ ...health, metadata: { expires_at } }));
  expect([until(before), until(from), until(after)]).toEqual([
    "envelope.expired",
    "envelope.expired",
    "none",
  ]);
});

test("events and history are never refused for time", () => {
  const old = { occurred_at: "1970-01-01T00:00:00.000Z", metadata: { expires_at: before } };
  const far = { occurred_at: "9999-12-31T23:59:59.999Z" };
  const history = {
    action: "history_batch",
    payload: { account: "a", conversation: event.metadata.conversation, events: [payload], complete: true },
  };
  const alias = {
    action: "inbound_message",
    payload: { remote_id: "r", sender_identity: "alice", timestamp: "now", body: "x" },
  };
  for (const kind of [{}, history, alias]) {
    for (const time of [old, far]) expect(codeOfEnvelope(eventWith({ ...kind, ...time }))).toBe("none");
  }
});

test.each<[string, unknown]>([
  ["NUL in a string", { ...payload, text: "a\0b" }],
  ["NUL in a name", { ...payload, native: { "a\0": 1 } }],
  ["a fraction", { ...payload, native: { a: 1.5 } }],
  ["a number past 2^53", { ...payload, native: { a: 1e21 } }],
  ["2^53", { ...payload, native: { a: 9007199254740992 } }],
  ["a string over 64 KiB", { ...payload, native: { a: "x".repeat(65_537) } }],
  ["a string over 64 KiB in UTF-8", { ...payload, native: { a: "é".repeat(32_769) } }],
  [
    "4,097 members",
    { ...payload, native: Object.fromEntries(Array.from({ length: 4_097 }, (_, i) => [`k${i}`, 0])) },
  ],
  ["a null where a member is optional", { ...payload, text: null }],
  ["a member too many", { ...payload, extra: 1 }],
  ["a kind that is none", { ...payload, kind: "poke" }],
  ["a sender without a ref", { ...payload, sender: { name: "a", is_self: false } }],
  ["an entity of no length", { ...payload, entities: [{ type: "bold", offset: 0, length: 0 }] }],
  ["an array for a payload", []],
])("envelope.schema: %s", (_what, body) => {
  expect(code(signAnything({ ...event, payload: body }))).toBe("envelope.schema");
});

test.each<[string, unknown]>([
  ["a text over 64 KiB", { ...payload, text: "x".repeat(200_000) }],
  ["a string of 64 KiB", { ...payload, native: { a: "é".repeat(32_768) } }],
  [
    "4,096 members",
    { ...payload, native: Object.fromEntries(Array.from({ length: 4_096 }, (_, i) => [`k${i}`, 0])) },
  ],
  ["the largest safe integers", { ...payload, native: { a: 2 ** 53 - 1, b: 1 - 2 ** 53 } }],
])("accepted: %s", (_what, body) => {
  expect(code(signAnything({ ...event, payload: body }))).toBe("none");
});

test("the envelope may be as large as it may, and no larger", () => {
  const room = 1_048_576 - signAnything({ ...event, payload: { ...payload, text: "" } }).body.byteLength;
  expect(codeOfEnvelope(eventWith({ payload: { ...payload, text: "x".repeat(room) } }))).toBe("none");
  expect(codeOfEnvelope(eventWith({ payload: { ...payload, text: "x".repeat(room + 1) } }))).toBe(
    "envelope.too_large",
  );
});

test("depth 32 is accepted where objects are open, 33 is malformed", () => {
  const nested = (depth: number) => JSON.parse(`${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`) as object;
  expect(codeOfEnvelope(eventWith({ payload: { ...payload, native: nested(30) } }))).toBe("none");
  expect(codeOfEnvelope(eventWith({ payload: { ...payload, native: nested(31) } }))).toBe(
    "envelope.malformed",
  );
});

test("a member named __proto__ or constructor is refused where members are closed", () => {
  const text = canonicalText(event);
  for (const [at, member] of [
    ['{"action"', '{"__proto__":{"x":1},"action"'],
    ['"metadata":{', '"metadata":{"__proto__":{"issuer":"core"},'],
    ['"payload":{', '"payload":{"__proto__":{"x":1},'],
    ['"conversation"', '"constructor":{},"conversation"'],
    ['"sender":{', '"sender":{"__proto__":{},'],
  ] as const) {
    const body = Buffer.from(text.replace(at, member));
    expect(code(signBytes(body)), member).toBe("envelope.schema");
  }
});

test("in open objects such members are only data: nothing is polluted, and they come back", () => {
  const native =
    '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"hasOwnProperty":1}';
  const body = Buffer.from(canonicalText(event).replace('{"command":"PRIVMSG"}', native));
  const opened = decode(signBytes(body), options);
  expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  expect(canonicalText(opened.envelope)).toBe(body.toString());
  expect(Object.getOwnPropertyNames(opened.envelope.payload.native)).toEqual([
    "__proto__",
    "constructor",
    "hasOwnProperty",
  ]);
  expect(signed(opened.envelope).body).toEqual(body);
});

test("an action is unsupported only in an envelope that is sound", () => {
  expect(codeOfEnvelope(eventWith({ action: "inbound_nothing" }))).toBe("action.unsupported");
  expect(codeOfEnvelope(eventWith({ service: "icq", action: "inbound_update" }))).toBe("action.unsupported");
  expect(codeOfEnvelope(eventWith({ action: "constructor" }))).toBe("action.unsupported");
  expect(codeOfEnvelope(eventWith({ action: "Inbound" }))).toBe("envelope.schema");
  expect(codeOfEnvelope(eventWith({ action: "inbound_nothing", metadata: { seq: 0 } }))).toBe(
    "envelope.schema",
  );
});

test("bodies that hold no envelope", () => {
  for (const [text, expected] of [
    ["", "envelope.malformed"],
    ["null", "envelope.schema"],
    ["1", "envelope.schema"],
    ['"x"', "envelope.schema"],
    ["{}", "envelope.schema"],
    ["{}{}", "envelope.malformed"],
    ["nul", "envelope.malformed"],
  ] as const) {
    expect(code(signBytes(Buffer.from(text))), text).toBe(expected);
  }
});

test("an error never quotes what the envelope says", () => {
  const secret = "hunter2";
  for (const body of [
    { ...payload, text: 1, native: { secret } },
    { ...payload, [secret]: secret },
    { ...payload, kind: secret },
  ]) {
    try {
      decode(signAnything({ ...event, payload: body }), options);
    } catch (error) {
      expect(String(error)).not.toContain(secret);
    }
  }
});

test("a batch of any size gives each its own answer", async () => {
  const sent = Array.from({ length: 1_200 }, (_, i) => {
    const one = signAnything(eventWith({ payload: { ...payload, remote_id: `r${i}` } }));
    return i % 7 === 0 ? { ...one, sig: one.sig.replace(/^../, "AA") } : one;
  });
  const results = await decodeBatch(sent, options);
  results.forEach((result, i) => {
    if (i % 7 === 0) expect(isFabricError(result) && result.code).toBe("envelope.bad_signature");
    else expect(!isFabricError(result) && result.envelope.payload.remote_id).toBe(`r${i}`);
  });
});
