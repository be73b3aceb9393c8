import { signerFromSeed } from "@linkspan/envelopes";
import type { AuthSession, Identity, Intent, StoredEvent } from "@linkspan/store";
import type { CatalogEntry } from "@linkspan/worker";
import { expect, test } from "vitest";
import { sessionView, SessionView } from "./msgr-views.ts";
import { eventJson, EventView, identityView, IdentityView, intentView, IntentView } from "./views.ts";

const at = new Date("2026-11-20T12:00:00.000Z");

const field = { label: "x", required: false, syntax: "line", max_bytes: 100 } as const;
const irc: CatalogEntry = {
  service: "irc",
  capabilities: {},
  name: "IRC",
  description: "",
  fields: [
    { ...field, name: "nick", secret: false },
    { ...field, name: "password", secret: true },
    { ...field, name: "realname", secret: false, advanced: true },
  ],
};

const identity: Identity = {
  id: "i1",
  workspace_id: "acme",
  user_id: "u1",
  service: "irc",
  home: "primary",
  instance: "primary",
  remote: null,
  name: null,
  state: "linked",
  settings: { nick: "alice", realname: "Alice", password: "hunter2", sasl_pass: "hunter2" },
  bridge_state: "connected",
  bridge_detail: {},
  capabilities: {},
  created_at: at,
  updated_at: at,
};

const intent: Intent = {
  id: "n1",
  ordinal: "1",
  workspace_id: "acme",
  user_id: "u1",
  identity_id: "i1",
  service: "irc",
  action: "outbound_message",
  conversation: null,
  payload: { text: "hi" },
  content: new Uint8Array(32),
  trace_id: "t",
  state: "queued",
  code: null,
  detail: null,
  attempt: 0,
  part: 0,
  parts: null,
  remote_ids: [],
  ask_id: "asked",
  ask_epoch: "7",
  go_until: at,
  created_at: at,
  updated_at: at,
  expires_at: null,
};

test("an identity shows what the catalogue asks for in the open, and nothing else that was entered", () => {
  const view = IdentityView.parse(identityView(identity, irc));
  expect(view.settings).toEqual({ nick: "alice" });
  expect(JSON.stringify(view)).not.toContain("hunter2");
  expect(view).not.toHaveProperty("remote");
});

test("an intent in a list shows neither contents nor what its daemon was granted", () => {
  const view = IntentView.parse(intentView(intent));
  expect(Object.keys(view)).not.toEqual(expect.arrayContaining(["payload"]));
  expect(JSON.stringify(view)).not.toContain("asked");
  for (const absent of ["code", "detail", "parts", "conversation", "expires_at"]) {
    expect(view).not.toHaveProperty(absent);
  }
});

const event: StoredEvent = {
  position: 7,
  workspaceId: "acme",
  messageId: "m",
  service: "irc",
  account: "i1",
  conversation: undefined,
  receivedAt: at,
  fanOut: true,
  kid: signerFromSeed(new Uint8Array(32)).kid,
  sig: "s",
  body: Buffer.from('{"10":1,"9":2,"text":"\u2028"}'),
};

test("an event holds the stored bytes as they are, on one line", () => {
  const line = eventJson(event);
  expect(line).toContain(`"envelope":${event.body.toString("utf8")}}`);
  expect(EventView.parse(JSON.parse(line)).position).toBe(7);
});

test("a foreign event is put on one line, so that a stream cannot be split by it", () => {
  const body = Buffer.from('{\n\n"text": "data: x"\r\n}');
  const line = eventJson({ ...event, kid: undefined, sig: undefined, body });
  expect(line).not.toMatch(/[\r\n]/);
  expect(EventView.parse(JSON.parse(line)).envelope).toEqual({ text: "data: x" });
});

test("a session of a service that left the catalogue is still shown", () => {
  const session: AuthSession = {
    id: "s1",
    workspace_id: "acme",
    user_id: "u1",
    service: "gone",
    identity_id: "i1",
    state: "failed",
    step: { code: "platform.unavailable" },
    client_context: {},
    created_at: at,
    changed_at: at,
    expires_at: at,
  };
  expect(SessionView.parse(sessionView(session, undefined)).catalog_snapshot).toEqual({});
});
