import { expect, test, vi } from "vitest";
import { actionOf } from "../names/actions.ts";
import { EnvelopeSchema } from "../codec/envelope.ts";
import { faultOf } from "./fault.ts";
import { event } from "../sample.ts";

const { payload } = event;

test.each<[string, unknown]>([
  ["envelope: not an object", []],
  ["service: not a valid string", { ...event, service: "IRC" }],
  ["envelope: a member that is not known", { ...event, extra: 1 }],
  ["metadata: not an object", { ...event, metadata: null }],
  [
    "metadata.seq: not a whole number within its bounds",
    { ...event, metadata: { ...event.metadata, seq: 0 } },
  ],
  [
    "metadata.message_id: missing",
    { ...event, metadata: { issuer: "core", workspace_id: "w", instance: "i" } },
  ],
  ["metadata: a member that is not known", { ...event, metadata: { ...event.metadata, constructor: 1 } }],
])("%s", (fault, value) => {
  expect(faultOf(EnvelopeSchema, value, "")).toBe(fault);
});

test.each<[string, string, unknown]>([
  [
    "inbound_event",
    "payload.sender.name: missing",
    { ...payload, sender: { ref: "msgr://identity/bridges/irc/a", is_self: true } },
  ],
  [
    "inbound_event",
    "payload.entities.1.length: not a whole number within its bounds",
    {
      ...payload,
      entities: [
        { type: "bold", offset: 0, length: 1 },
        { type: "bold", offset: 0, length: 0 },
      ],
    },
  ],
  ["inbound_event", "payload.entities: not an array", { ...payload, entities: {} }],
  ["outbound_message", "payload.text: not a valid string", { text: 1, media: [] }],
  ["outbound_message", "payload.command: not a valid string", { body: "x", command: 1 }],
  [
    "ack_event",
    "payload.acked.0.status: not a valid enum",
    { account: "a", acked: [{ message_id: event.metadata.message_id, status: "read" }] },
  ],
])("%s %s", (name, fault, value) => {
  const schema = actionOf("irc", name)?.payload;
  if (schema === undefined) throw new Error("not in the registry");
  expect(faultOf(schema, value, "payload")).toBe(fault);
});

test("of a hundred thousand faults only the first is looked at", () => {
  const schema = actionOf("irc", "roster_snapshot")?.payload;
  if (schema === undefined) throw new Error("not in the registry");
  const looked = vi.fn();
  const item = () => Object.defineProperty({}, "ref", { enumerable: true, get: looked });
  const entries = Array.from({ length: 100_000 }, item);
  expect(faultOf(schema, { account: "a", entries }, "payload")).toBe(
    "payload.entries.0.ref: not a valid string",
  );
  expect(looked.mock.calls.length).toBeLessThan(10);
});
