import { expect, test } from "vitest";
import { contentHash, eventId, answerId, intentId, messageId, noteId, traceIdOf } from "./message-id.ts";
import { codeOf, coreEnvelope, event, eventWith } from "../sample.ts";
import { TRACE_ID } from "./grammar.ts";

const identity = {
  workspace: "w",
  service: "irc",
  home: "h",
  account: "a",
  kind: "message",
  remoteId: "r",
  revision: "0",
};

test("an event's id is that of its array, and differs with every part", () => {
  expect(eventId(identity)).toBe(
    messageId(["event", "w", "irc", "h", "a", "inbound_event", "message", "r", "0"]),
  );
  const ids = Object.keys(identity).map((part) => eventId({ ...identity, [part]: "other" }));
  expect(new Set([...ids, eventId(identity)]).size).toBe(8);
});

test("the kinds of id never meet", () => {
  const ids = [
    intentId("a", "b"),
    answerId("a", "b", "c", 1),
    noteId("a", "b", "c"),
    messageId(["answer", "a", "b", "c", "1"]),
  ];
  expect(new Set(ids).size).toBe(4);
  expect(ids.every((id) => /^[A-Za-z0-9_-]{43}$/.test(id))).toBe(true);
});

test("a trace id is a UUIDv8 of the message id", () => {
  const trace = traceIdOf(eventId(identity));
  expect(trace).toMatch(TRACE_ID);
  expect([trace[14], "89ab".includes(trace[19] ?? "")]).toEqual(["8", true]);
  expect(codeOf(() => traceIdOf("short"))).toBe("envelope.schema");
});

const hash = (envelope: typeof event) => Buffer.from(contentHash(envelope)).toString("hex");
const payload = event.payload as Record<string, unknown>;

test("an event's content is what was said; what may differ on a second reading is left out", () => {
  const sender = { ref: "msgr://identity/bridges/irc/libera/alice", name: "Alice2", is_self: true };
  const again = eventWith({
    occurred_at: "2026-11-20T11:40:00.000Z",
    metadata: { seq: 4, epoch: 9 },
    payload: { ...payload, sender, sent_at: "2026-11-20T11:00:00.000Z", native: {}, cursor: { a: 1 } },
  });
  expect(hash(again)).toBe(hash(event));
  const media = (item: object) =>
    hash(eventWith({ payload: { ...payload, media: [{ kind: "image", ...item }] } }));
  expect(media({ name: "a", url: "1" })).toBe(media({ name: "a", url: "2" }));
  expect(media({ sha256: "0".repeat(64), name: "a" })).toBe(media({ sha256: "0".repeat(64), name: "b" }));
  expect(media({ name: "a" })).not.toBe(media({ name: "b" }));
});

test.each<[string, Record<string, unknown>]>([
  ["text", { text: "other" }],
  ["no text", { text: "" }],
  ["kind", { kind: "edit" }],
  ["revision", { revision: "1" }],
  ["entities", { entities: [{ type: "bold", offset: 0, length: 1 }] }],
  ["target", { target: "x" }],
  ["thread", { thread: "x" }],
  ["reply", { reply_to: "x" }],
  ["sender", { sender: { ref: "msgr://identity/bridges/irc/libera/bob", name: "alice", is_self: false } }],
])("another %s is another content", (_what, change) => {
  expect(hash(eventWith({ payload: { ...payload, ...change } }))).not.toBe(hash(event));
});

test("an intent's content is its action, payload, conversation, identity and user, not its ticket", () => {
  const intent = coreEnvelope(
    "irc",
    "outbound_message",
    { text: "hi" },
    { identity_id: "i", user_id: "u", ticket: "t1" },
  );
  const with_ = (metadata: object) => hash({ ...intent, metadata: { ...intent.metadata, ...metadata } });
  expect(with_({ ticket: "t2" })).toBe(hash(intent));
  expect(with_({ user_id: "v" })).not.toBe(hash(intent));
  expect(with_({ identity_id: "j" })).not.toBe(hash(intent));
  expect(with_({ conversation: "msgr://channels/ten-9/bridge/irc/x" })).not.toBe(hash(intent));
  expect(hash({ ...intent, action: "outbound_edit" })).not.toBe(hash(intent));
});

test("the rest's content is its payload", () => {
  const note = eventWith({ action: "health", payload: { status: "ok", identities: 1 } });
  expect(hash({ ...note, action: "health_snapshot" })).toBe(hash(note));
  expect(hash({ ...note, payload: { status: "down", identities: 1 } })).not.toBe(hash(note));
});
