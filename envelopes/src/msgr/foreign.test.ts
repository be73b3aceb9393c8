import { expect, test } from "vitest";
import { decode, type Opened } from "../codec/decode.ts";
import { FabricError } from "../errors/errors.ts";
import type { DecodeOptions } from "../codec/received.ts";
import { eventId, traceIdOf } from "../names/message-id.ts";
import { KeyRing } from "../proofs/keys.ts";
import { canonicalText } from "../codec/canonical.ts";
import { toCanonicalEvent } from "../codec/canonical-event.ts";
import { codeOf, event, NOW, records, signBytes, signed } from "../sample.ts";
import { parseRoutingKey, parseTopic } from "../names/topics.ts";

const options: DecodeOptions = {
  keys: new KeyRing(records),
  now: NOW,
  signatures: "optional",
  foreignWorkspace: "dev",
};

/** As Python's json.dumps writes it: blanks after separators, members in the order they were put in. */
function python(members: object): Buffer {
  const text = JSON.stringify(members, null, 1)
    .replaceAll(/\n\s*/g, " ")
    .replaceAll(/([[{]) | ([\]}])/g, "$1$2");
  return Buffer.from(text);
}

const matrix = {
  schema: "msgr.bridge.v1",
  service: "matrix",
  action: "inbound_event",
  trace_id: "0af7651916cd43dd8448eb211c80319c",
  occurred_at: "2026-11-20T11:34:58.123000+00:00",
  metadata: {},
  payload: {
    event_id: "$e1",
    room_id: "!r:ex.org",
    sender: "@alice:ex.org",
    body: { body: "hello", msgtype: "m.text" },
    user_id: "u1",
    homeserver: "https://ex.org",
  },
};

function receive(
  members: object,
  topic = "bridge/matrix/inbound_event",
  changes: Partial<DecodeOptions> = {},
): Opened {
  return decode(
    { body: python(members), kid: undefined, sig: undefined, topic: parseTopic(topic) },
    { ...options, ...changes },
  );
}

test("Msgr's Python SDK is understood on a development namespace", () => {
  const { envelope, kid, body, action } = receive(matrix);
  expect(kid).toBeUndefined();
  expect(body).toEqual(python(matrix));
  expect(action.canonical).toBe("inbound_event");
  expect(envelope.payload).toEqual(matrix.payload);
  expect(envelope.occurred_at).toBe("2026-11-20T11:34:58.123Z");
  const message_id = eventId({
    workspace: "dev",
    service: "matrix",
    home: "primary",
    account: "u1",
    kind: "message",
    remoteId: "$e1",
    revision: "0",
  });
  expect(envelope.trace_id).toBe(traceIdOf(message_id));
  expect(envelope.metadata).toEqual({
    workspace_id: "dev",
    instance: "primary",
    issuer: "daemon:matrix:primary",
    message_id,
    conversation: "msgr://channels/dev/bridge/matrix/%21r%3Aex.org",
  });
});

test("elsewhere it is unsigned", () => {
  const { signatures: _optional, ...required } = options;
  const received = { body: python(matrix), kid: undefined, sig: undefined };
  expect(codeOf(() => decode(received, required))).toBe("envelope.unsigned");
  expect(codeOf(() => decode(received, { ...required, signatures: "required" }))).toBe("envelope.unsigned");
});

test("where signatures are optional, one that is there must still hold", () => {
  const sent = signed();
  expect(codeOf(() => decode(sent, options))).toBe("none");
  expect(codeOf(() => decode({ ...sent, sig: sent.sig.replace(/^../, "AA") }, options))).toBe(
    "envelope.bad_signature",
  );
  expect(codeOf(() => decode({ ...sent, kid: undefined }, options))).toBe("envelope.unsigned");
  expect(codeOf(() => decode({ ...sent, sig: undefined }, options))).toBe("envelope.unsigned");
});

test("the topic says who it is, whatever the body claims", () => {
  const claims = {
    ...matrix,
    metadata: { issuer: "core", instance: "other", message_id: "x", workspace_id: "w2", shard: 3, seq: 4 },
  };
  const { envelope } = receive(claims, "bridge/matrix/hs1/inbound_event");
  expect(envelope.metadata).toMatchObject({
    issuer: "daemon:matrix:hs1",
    instance: "hs1",
    workspace_id: "w2",
    seq: 4,
  });
  expect(envelope.metadata).not.toHaveProperty("shard");
  expect(codeOf(() => receive(matrix, "bridge/xmpp/inbound_event"))).toBe("envelope.misrouted");
});

test("it may arrive in any partition, as its SDK knows of none, but not as another instance", () => {
  const body = python(matrix);
  const by = (key: string) =>
    codeOf(() => decode({ body, kid: undefined, sig: undefined, route: parseRoutingKey(key) }, options));
  expect([by("matrix._.inbound_event.p00"), by("matrix._.inbound_event.p07")]).toEqual(["none", "none"]);
  expect(by("matrix._.health.p00")).toBe("envelope.misrouted");
});

test("the same event read twice is one, whenever it was written and whoever asked", () => {
  const id = (members: object) => receive(members).envelope.metadata.message_id;
  expect(id({ ...matrix, trace_id: "1".repeat(32), occurred_at: "2026-11-20T10:00:00+00:00" })).toBe(
    id(matrix),
  );
  expect(id({ ...matrix, payload: { ...matrix.payload, event_id: "$e2" } })).not.toBe(id(matrix));
});

test("what is missing is filled in: Msgr's backend writes neither schema, time nor metadata", () => {
  const { schema: _schema, occurred_at: _at, metadata: _metadata, ...bare } = matrix;
  const { envelope } = receive({ ...bare, trace_id: null });
  expect([envelope.schema, envelope.occurred_at]).toEqual(["msgr.bridge.v1", NOW.toISOString()]);
});

test("metadata inside the payload is lifted, the envelope's own wins, nulls are dropped", () => {
  const payload = { ...matrix.payload, user_id: null, metadata: { identity_id: "inner", user_id: "u2" } };
  const { envelope } = receive({ ...matrix, payload, metadata: { identity_id: "outer" } });
  expect(envelope.metadata).toMatchObject({ identity_id: "outer", user_id: "u2" });
  expect(envelope.payload).not.toHaveProperty("metadata");
  expect(envelope.payload).not.toHaveProperty("user_id");
});

test("unknown members of an event are kept in native, under Msgr's name and under ours", () => {
  const { envelope, action } = receive({
    ...matrix,
    payload: { ...matrix.payload, kind: "of their own", unsigned: { age: 5 } },
  });
  const context = {
    workspaceId: "dev",
    instance: "primary",
    account: "u1",
    occurredAt: envelope.occurred_at,
  };
  const { payload } = toCanonicalEvent("matrix", action.name, envelope.payload, context);
  expect(payload).toMatchObject({
    kind: "message",
    text: "hello",
    native: { kind: "of their own", unsigned: { age: 5 } },
  });

  const canonical = {
    kind: "message",
    remote_id: "$e2",
    revision: "0",
    account: "u1",
    sender: { ref: "msgr://identity/bridges/matrix/x", name: "x", is_self: false },
    sent_at: "2026-11-20T11:34:58.123Z",
    native: { kept: 1 },
  };
  const ours = { ...matrix, payload: { ...canonical, colour: "red" } };
  expect(receive(ours).envelope.payload).toEqual({ ...canonical, native: { kept: 1, colour: "red" } });
  expect(codeOf(() => receive({ ...ours, payload: { ...ours.payload, sender: { odd: 1 } } }))).toBe(
    "envelope.schema",
  );

  const history = {
    account: "u1",
    conversation: "msgr://channels/dev/bridge/matrix/x",
    events: [canonical, ours.payload],
    complete: true,
    page: 7,
  };
  const batch = receive(
    { ...matrix, action: "history_batch", payload: history },
    "bridge/matrix/history_batch",
  );
  expect(batch.envelope.payload).toEqual({
    account: history.account,
    conversation: history.conversation,
    complete: true,
    events: [canonical, { ...canonical, native: { kept: 1, colour: "red" } }],
  });
});

test("unknown members of what is no event are left out", () => {
  const health = { ...matrix, action: "health", payload: { status: "ok", identities: 1, uptime: 12.5 } };
  expect(receive(health, "bridge/matrix/health").envelope.payload).toEqual({ status: "ok", identities: 1 });
});

test("ids beyond 2^53 - 1 and fractions are read to the last digit", () => {
  const text = JSON.stringify({
    ...matrix,
    service: "telegram",
    action: "inbound_update",
    payload: {
      update_id: "UPDATE",
      chat_id: "CHAT",
      message: "9007199254740993 is text",
      media: { document: { access_hash: "HASH", ratio: "RATIO", zero: "ZERO", thousand: "1E3" } },
    },
  })
    .replace('"UPDATE"', "12345678901234567890")
    .replace('"CHAT"', "-1001234567890123456")
    .replace('"HASH"', "9007199254740993")
    .replace('"RATIO"', "1.50")
    .replace('"ZERO"', "-0")
    .replace('"1E3"', "1E3");
  const { envelope } = decode(
    {
      body: Buffer.from(text),
      kid: undefined,
      sig: undefined,
      topic: parseTopic("bridge/telegram/inbound_update"),
    },
    options,
  );
  expect(envelope.payload).toEqual({
    update_id: "12345678901234567890",
    chat_id: "-1001234567890123456",
    message: "9007199254740993 is text",
    media: { document: { access_hash: "9007199254740993", ratio: "1.50", zero: 0, thousand: 1_000 } },
  });
});

test("who signs is told that such a number is written as a string", () => {
  const refusal = (number: string): string => {
    const text = canonicalText(event).replace('"command":"PRIVMSG"', `"command":${number}`);
    try {
      decode(signBytes(Buffer.from(text)), options);
      return "none";
    } catch (error) {
      return error instanceof FabricError ? `${error.code} ${error.message}` : String(error);
    }
  };
  expect(refusal("1.5")).toMatch(/^envelope\.schema .*as a string$/);
  expect(refusal("9007199254740993")).toMatch(/^envelope\.not_canonical .*as strings$/);
});

test("what is no event is identified by its bytes and keeps its trace id", () => {
  const health = { ...matrix, action: "health", payload: { status: "ok", identities: 1 } };
  const { envelope } = receive(health, "bridge/matrix/health");
  expect(envelope.trace_id).toBe("0af76519-16cd-43dd-8448-eb211c80319c");
  expect(receive(health, "bridge/matrix/health").envelope.metadata.message_id).toBe(
    envelope.metadata.message_id,
  );
});

test("a foreign daemon may not act as the core", () => {
  const outbound = { ...matrix, action: "outbound_message", payload: { text: "x" } };
  expect(codeOf(() => receive(outbound, "bridge/matrix/outbound_message"))).toBe("envelope.wrong_issuer");
});

test.each<[string, unknown, string]>([
  ["an array", [], "envelope.schema"],
  ["no payload of the action", { ...matrix, payload: {} }, "envelope.schema"],
  ["a payload that is text", { ...matrix, payload: "x" }, "envelope.schema"],
  ["another schema", { ...matrix, schema: "msgr.bridge.v2" }, "envelope.schema"],
  ["a time that is none", { ...matrix, occurred_at: "soon" }, "envelope.schema"],
  [
    "a trace id that is none on a note",
    { ...matrix, action: "health", payload: { status: "ok", identities: 1 }, trace_id: "x" },
    "envelope.schema",
  ],
  [
    "a conversation of another workspace",
    { ...matrix, metadata: { conversation: "msgr://channels/other/bridge/matrix/x" } },
    "envelope.schema",
  ],
  ["NUL", { ...matrix, payload: { ...matrix.payload, sender: "a\0" } }, "envelope.schema"],
  [
    "a fraction where a whole number belongs",
    { ...matrix, action: "health", payload: { status: "ok", identities: 1.5 } },
    "envelope.schema",
  ],
  ["an action that is none", { ...matrix, action: "inbound_nothing" }, "action.unsupported"],
])("%s is refused", (_what, members, code) => {
  const received = { body: python(members as object), kid: undefined, sig: undefined };
  expect(codeOf(() => decode(received, options))).toBe(code);
});

test("a note too old is refused, an event is not", () => {
  const old = { occurred_at: "2020-01-01T00:00:00+00:00" };
  const health = { ...matrix, ...old, action: "health", payload: { status: "ok", identities: 1 } };
  expect(codeOf(() => receive(health, "bridge/matrix/health"))).toBe("envelope.expired");
  expect(codeOf(() => receive({ ...matrix, ...old }))).toBe("none");
});
