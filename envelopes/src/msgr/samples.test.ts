// The forms that Msgr's SDKs write and read, unmodified: every form of the contract's table of fields.
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { acceptsOf } from "../codec/accepts.ts";
import { actionOf, actionsOf } from "../names/actions.ts";
import { toCanonicalEvent } from "../codec/canonical-event.ts";
import { decode } from "../codec/decode.ts";
import { KeyRing } from "../proofs/keys.ts";
import { membersOf } from "../payloads/members.ts";
import { InboundEventSchema } from "../payloads/events.ts";
import { codeOf, NOW } from "../sample.ts";
import { parseTopic } from "../names/topics.ts";
import { toServed } from "./outbound.ts";

interface Action {
  readonly action: string;
  readonly payload: Readonly<Record<string, unknown>>;
}
interface Samples {
  readonly inbound: readonly {
    readonly name: string;
    readonly topic: string;
    readonly wire: string;
    readonly conversation: string;
    readonly event: object;
  }[];
  readonly outbound: readonly {
    readonly name: string;
    readonly conversation: string;
    readonly canonical: Action;
    readonly msgr: Action;
  }[];
  readonly acks: readonly Action[];
  readonly links: readonly {
    readonly action: string;
    readonly request: object;
    readonly replies: readonly object[];
  }[];
}

const FOLDER = new URL("../../fixtures/msgr/", import.meta.url);
const MESSAGE_ID = "y5GsViHihPG6YdoLQhPVvGQYUlTm-LJjGLfSs5Rb1Ko";
const services = readdirSync(FOLDER).map((file) => file.replace(/\.json$/, ""));
const samples = (service: string) =>
  JSON.parse(readFileSync(new URL(`${service}.json`, FOLDER), "utf8")) as Samples;

test("there are samples of every service of Msgr, for each of its names", () => {
  expect(services.toSorted()).toEqual(["irc", "matrix", "telegram", "xmpp"]);
  for (const service of services) {
    const { inbound, outbound, acks, links } = samples(service);
    const shown = new Set([
      ...inbound.map(({ topic }) => parseTopic(topic).action),
      ...outbound.map(({ msgr }) => msgr.action),
      ...[...acks, ...links].map(({ action }) => action),
    ]);
    const names = actionsOf(service).filter(({ name, canonical }) => name !== canonical);
    expect(names.map(({ name }) => name).filter((name) => !shown.has(name))).toEqual([]);
  }
});

test.each(
  services.flatMap((service) => samples(service).inbound.map((one) => [service, one.name, one] as const)),
)("%s inbound: %s", (service, _name, { topic, wire, conversation, event }) => {
  const body = Buffer.from(wire);
  const opened = decode(
    { body, kid: undefined, sig: undefined, topic: parseTopic(topic) },
    { keys: new KeyRing([]), now: NOW, signatures: "optional", foreignWorkspace: "dev" },
  );
  const { metadata, payload, occurred_at: occurredAt } = opened.envelope;
  expect([opened.body, metadata.conversation]).toEqual([body, conversation]);
  const canonical = toCanonicalEvent(service, opened.action.name, payload, {
    workspaceId: metadata.workspace_id,
    instance: metadata.instance,
    account: String(payload.user_id),
    occurredAt,
    conversation: metadata.conversation,
  });
  expect(canonical.payload).toMatchObject(event);
  expect(acceptsOf(InboundEventSchema)(canonical.payload)).toBe(true);
});

test.each(
  services.flatMap((service) => samples(service).outbound.map((one) => [service, one.name, one] as const)),
)("%s outbound, both ways: %s", (service, _name, { conversation, canonical, msgr }) => {
  const place = { service, conversation, messageId: MESSAGE_ID };
  const served = [{ name: msgr.action, form: "msgr" as const }];
  expect(toServed({ ...place, ...canonical }, served)).toEqual(msgr);
  expect(acceptsOf(schemaOf(service, msgr.action))(msgr.payload)).toBe(true);
  expect(toServed({ ...place, ...msgr }, served)).toEqual(msgr);
  const ours = [{ name: canonical.action }];
  expect(toServed({ ...place, ...msgr }, ours)).toEqual(canonical);
  expect(toServed({ ...place, ...canonical }, ours)).toEqual(canonical);
  expect(toServed({ ...place, ...msgr }, undefined)).toEqual(msgr);
  expect(codeOf(() => toServed({ ...place, ...canonical }, [{ name: "join_channel" }]))).toBe(
    "action.unsupported",
  );
});

test.each(services)("%s: acks, link requests and their answers", (service) => {
  const { acks, links } = samples(service);
  for (const { action, payload } of acks) {
    expect(actionOf(service, action)?.canonical).toBe("ack_event");
    expect(acceptsOf(schemaOf(service, action))(payload), action).toBe(true);
  }
  for (const { action, request, replies } of links) {
    expect(actionOf(service, action)?.canonical).toBe("link_account");
    expect(acceptsOf(schemaOf(service, action))(request), action).toBe(true);
    for (const reply of replies)
      expect(acceptsOf(replyOf(service, action))(reply), JSON.stringify(reply)).toBe(true);
  }
});

test.each([
  [
    "a file that the form has no place for",
    "matrix",
    "outbound_event",
    { text: "x", media: [{ kind: "image" }] },
  ],
  ["a second line in one IRC command", "irc", "outbound_command", { text: "x\r\nQUIT" }],
])("%s has no translation", (_what, service, name, payload) => {
  const conversation = `msgr://channels/dev/bridge/${service}/a/b`;
  const intent = { service, action: "outbound_message", payload, conversation, messageId: MESSAGE_ID };
  expect(codeOf(() => toServed(intent, [{ name }]))).toBe("action.unsupported");
  expect(
    codeOf(() => toServed({ ...intent, conversation: undefined, payload: { text: "x" } }, [{ name }])),
  ).toBe("action.unsupported");
});

test.each([
  ["several at once", "telegram", "outbound_delete_message", { chat_id: 1, message_ids: [1, 2] }],
  [
    "for the account alone",
    "telegram",
    "outbound_delete_message",
    { chat_id: 1, message_ids: [1], revoke: false },
  ],
  ["a redaction", "matrix", "outbound_event", { room_id: "!r", event_type: "m.room.redaction", content: {} }],
  ["an IRC command that says nothing", "irc", "outbound_command", { command: "MODE", arguments: ["+o"] }],
  ["a stanza without a body", "xmpp", "outbound_stanza", { stanza: "<message/>", format: "xml" }],
])("what Msgr's form holds beyond ours has no translation: %s", (_what, service, action, payload) => {
  const canonical = actionOf(service, action)?.canonical ?? "";
  const intent = { service, action, payload, conversation: undefined, messageId: MESSAGE_ID };
  expect(codeOf(() => toServed(intent, [{ name: canonical, form: "canonical" }]))).toBe("action.unsupported");
});

test("what people write cannot end the stanza that it is put into", () => {
  const text = `</body></message><presence/>"'&\u0000\u000b`;
  const conversation = "msgr://channels/dev/bridge/xmpp/a";
  const intent = { service: "xmpp", action: "outbound_message", payload: { text }, conversation };
  const { payload } = toServed({ ...intent, messageId: MESSAGE_ID }, [{ name: "outbound_stanza" }]);
  expect(String(membersOf(payload).stanza).match(/</g)).toHaveLength(4);
});

function schemaOf(service: string, name: string) {
  const action = actionOf(service, name);
  if (action === undefined) throw new Error(`${service} has no ${name}`);
  return action.payload;
}

function replyOf(service: string, name: string) {
  const reply = actionOf(service, name)?.reply;
  if (reply === undefined) throw new Error(`${service} ${name} has no answer`);
  return reply;
}
