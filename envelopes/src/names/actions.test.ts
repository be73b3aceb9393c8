import { expect, test } from "vitest";
import { actionOf, actionsOf, isConnector, isEvent, SERVICES } from "./actions.ts";

const CHAT = ["telegram", "matrix", "irc", "xmpp", "echo"];

test("the services", () => {
  expect(SERVICES).toEqual([...CHAT, "chorus", "conductor", "core", "vault"]);
});

/** The contract's table: name, direction, capability. */
test.each([
  ["outbound_message", "to_daemon", "send"],
  ["outbound_edit", "to_daemon", "send"],
  ["outbound_delete", "to_daemon", "send"],
  ["outbound_reaction", "to_daemon", "send"],
  ["outbound_typing", "to_daemon", "send"],
  ["outbound_read", "to_daemon", "send"],
  ["join_channel", "to_daemon", "admin"],
  ["leave_channel", "to_daemon", "admin"],
  ["request_history", "to_daemon", "sync"],
  ["refresh_roster", "to_daemon", "sync"],
  ["ack_event", "to_daemon", undefined],
  ["link_account", "request", "admin"],
  ["reauthenticate", "request", "admin"],
  ["disconnect", "request", "admin"],
  ["configure_bridge", "request", "admin"],
  ["health_snapshot", "request", "admin"],
  ["inbound_event", "to_core", undefined],
  ["delivery_status", "to_core", undefined],
  ["delivery_statuses", "to_core", undefined],
  ["deferred", "to_core", undefined],
  ["checkpoint", "to_core", undefined],
  ["throttle", "to_core", undefined],
  ["history_batch", "to_core", undefined],
  ["roster_snapshot", "to_core", undefined],
  ["sync_complete", "to_core", undefined],
  ["link_progress", "to_core", undefined],
  ["bridge_state", "to_core", undefined],
  ["capabilities", "to_core", undefined],
  ["health", "to_core", undefined],
])("every chat service has %s", (name, direction, capability) => {
  for (const service of CHAT) {
    expect(actionOf(service, name)).toMatchObject({ service, name, canonical: name, direction, capability });
  }
});

test.each([
  ["telegram", "inbound_update", "inbound_event"],
  ["telegram", "outbound_edit_message", "outbound_edit"],
  ["telegram", "outbound_delete_message", "outbound_delete"],
  ["telegram", "ack_update", "ack_event"],
  ["matrix", "outbound_event", "outbound_message"],
  ["matrix", "ack_sync", "ack_event"],
  ["irc", "inbound_message", "inbound_event"],
  ["irc", "outbound_command", "outbound_message"],
  ["irc", "ack_offset", "ack_event"],
  ["irc", "configure_identity", "link_account"],
  ["xmpp", "inbound_stanza", "inbound_event"],
  ["xmpp", "outbound_stanza", "outbound_message"],
  ["xmpp", "ack_receipt", "ack_event"],
])("%s %s stands for %s", (service, name, canonical) => {
  const alias = actionOf(service, name);
  const { direction, capability } = actionOf(service, canonical) ?? {};
  expect(alias).toMatchObject({ canonical, direction, capability });
});

test.each([
  ["telegram", "outbound_message", { chat_id: 1, message: "x", metadata: {} }],
  ["matrix", "outbound_message", { room_id: "!r", message: "x" }],
  ["irc", "outbound_message", { body: "x", command: "NOTICE" }],
  ["matrix", "inbound_event", { event_id: "$1", room_id: "!r", sender: "@a", body: {} }],
])("%s %s takes Msgr's payload beside the canonical one", (service, name, payload) => {
  const schema = actionOf(service, name)?.payload;
  expect(schema?.safeParse(payload).success).toBe(true);
  if (name === "outbound_message") expect(schema?.safeParse({ text: "x" }).success).toBe(true);
});

test("echo serves every outbound action of every service, with every payload", () => {
  const outbound = CHAT.flatMap(actionsOf).filter(({ name }) => name.startsWith("outbound_"));
  for (const { name, canonical } of outbound) expect(actionOf("echo", name)?.canonical).toBe(canonical);
  for (const payload of [
    { text: "x" },
    { chat_id: 1, message: "x" },
    { room_id: "!r", message: "x" },
    { body: "x" },
  ]) {
    expect(actionOf("echo", "outbound_message")?.payload.safeParse(payload).success).toBe(true);
  }
});

test("what is asked has an answer, and every answer may be an error", () => {
  const failed = { error: { code: "action.unsupported", detail: "no" } };
  for (const action of SERVICES.flatMap(actionsOf)) {
    if (action.reply !== undefined) expect(action.reply.safeParse(failed).success).toBe(true);
    expect(action.reply !== undefined).toBe(
      action.direction === "request" ||
        action.capability === "send" ||
        (action.direction === "core" && !["changed", "fanout"].includes(action.name)),
    );
  }
});

test("the fabric's own and the federation's requests", () => {
  const names = (service: string) => actionsOf(service).map(({ name }) => name);
  expect(names("core")).toEqual(["hello", "resume", "attempt", "submit_intent", "changed", "fanout"]);
  expect(names("vault")).toEqual(["checkout", "renew", "release", "write_back", "load_rows", "commit_rows"]);
  expect(names("conductor")).toEqual(
    expect.arrayContaining(["submit_event", "submit_events", "get_day_proof", "health_snapshot"]),
  );
  expect(names("chorus")).toEqual(
    expect.arrayContaining(["inbound_event", "ack_event", "outbound_federation"]),
  );
});

test("events are the inbound event under all its names, and history", () => {
  const events = actionsOf("irc").filter(isEvent);
  expect(events.map(({ name }) => name)).toEqual(["inbound_event", "history_batch", "inbound_message"]);
});

test("nothing inherited is an action or a service", () => {
  for (const name of ["__proto__", "toString"]) {
    expect([actionOf("irc", name), actionOf(name, "health"), actionsOf(name)]).toEqual([
      undefined,
      undefined,
      [],
    ]);
  }
  for (const service of ["irc", "signal", "constructor"]) {
    expect(["__proto__", "constructor", "toString"].map((name) => actionOf(service, name))).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  }
});

test("a service that the contract does not name answers the canonical actions, and is no service of the fabric", () => {
  expect(actionOf("signal", "outbound_message")).toMatchObject({ service: "signal", capability: "send" });
  expect(actionOf("signal", "inbound_update")).toBeUndefined();
  expect(actionsOf("signal").map(({ name }) => name)).toContain("link_account");
  expect(["signal", "telegram", "core", "vault", "Signal", "s".repeat(33)].map(isConnector)).toEqual([
    true,
    true,
    false,
    false,
    false,
    false,
  ]);
});
