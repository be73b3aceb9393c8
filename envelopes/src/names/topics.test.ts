import fc from "fast-check";
import { expect, test } from "vitest";
import { coreEnvelope, event, eventWith } from "../sample.ts";
import { codeOf } from "../sample.ts";
import {
  formatTopic,
  orderingKey,
  parseRoutingKey,
  parseTopic,
  partitionOf,
  routeOf,
  routingKey,
} from "./topics.ts";

const trace = event.trace_id;

test.each([
  ["bridge/irc/inbound_event", { service: "irc", instance: "primary", action: "inbound_event" }],
  ["bridge/irc/libera/inbound_event", { service: "irc", instance: "libera", action: "inbound_event" }],
  [
    `bridge/irc/link_account/reply/${trace}`,
    { service: "irc", instance: "primary", action: "link_account", replyTo: trace },
  ],
  ["bridge/irc/0-_/a_0", { service: "irc", instance: "0-_", action: "a_0" }],
])("%s is a topic with one spelling", (text, topic) => {
  expect(parseTopic(text)).toEqual(topic);
  expect(formatTopic(topic)).toBe(text);
});

test.each([
  "",
  "bridge",
  "bridge/irc",
  "bridge//inbound_event",
  "bridge/irc/",
  "/bridge/irc/a",
  "Bridge/irc/a",
  "bridge/irc/primary/a",
  "bridge/IRC/a",
  "bridge/irc/a/b/c",
  "bridge/irc/a/b/c/d",
  "bridge/irc/a/reply/1",
  "bridge/irc/a/reply/",
  `bridge/irc/libera/a/reply/${trace}`,
  `bridge/irc/a/reply/${trace.toUpperCase()}`,
  "bridge/irc.x/a",
  "bridge/irc/#",
  "bridge/*/a",
  "bridge/irc/a ",
  "bridge/irc/a\n",
  "bridge/irc/a\0",
  "bridge/\u0456rc/a",
  "bridge/1rc/a",
  `bridge/${"s".repeat(33)}/a`,
  `bridge/irc/${"i".repeat(64)}/a`,
  `bridge/irc/${"a".repeat(65)}`,
])("%j is topic.malformed", (text) => {
  expect(codeOf(() => parseTopic(text))).toBe("topic.malformed");
});

test.each([
  "",
  "irc.libera.a",
  "irc.libera.a.p8",
  "irc.libera.a.p008",
  "irc.primary.a.p00",
  "irc.libera.a.p00.x",
  "#.#.#.p00",
  "irc._.a.P00",
])("%j is no routing key", (key) => {
  expect(codeOf(() => parseRoutingKey(key))).toBe("topic.malformed");
});

test("a routing key carries a route there and back, and takes no other partition", () => {
  fc.assert(
    fc.property(
      fc.stringMatching(/^[a-z][a-z0-9_]{0,31}$/),
      fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,62}$/),
      fc.stringMatching(/^[a-z][a-z0-9_]{0,63}$/),
      fc.nat(99),
      (service, instance, action, partition) => {
        const route = { service, instance, action, partition };
        expect(parseRoutingKey(routingKey(route))).toEqual(route);
        expect(Buffer.byteLength(routingKey(route))).toBeLessThan(256);
      },
    ),
  );
  const route = { service: "irc", instance: "primary", action: "a", partition: 0 };
  expect(routingKey(route)).toBe("irc._.a.p00");
  for (const partition of [-1, 100, 0.5])
    expect(codeOf(() => routingKey({ ...route, partition }))).toBe("topic.malformed");
});

test("the ordering key is the conversation, else the identity or account, else what is answered", () => {
  const { conversation, ...metadata } = event.metadata;
  expect(orderingKey(event)).toBe(conversation);
  expect(orderingKey({ ...event, metadata: { ...metadata, identity_id: "id1" } })).toBe("id1");
  expect(orderingKey({ ...event, metadata })).toBe("acct1");
  const digest = metadata.message_id;
  expect(orderingKey({ ...event, metadata: { ...metadata, in_reply_to: digest }, payload: {} })).toBe(digest);
  expect(orderingKey({ ...event, metadata, payload: {} })).toBeUndefined();
  expect(
    orderingKey(coreEnvelope("core", "hello", { account: "a" }, { identity_id: "id1" })),
  ).toBeUndefined();
});

test("no key is partition 0; equal keys share one, remembered or not", () => {
  expect(partitionOf(undefined, 8)).toBe(0);
  const key = event.metadata.conversation;
  expect(partitionOf(key, 8)).toBe(partitionOf(key, 8));
  for (let i = 0; i < 5_000; i++) partitionOf(`other ${i}`, 8);
  expect(partitionOf(key, 8)).toBe(routeOf(event, 8).partition);
  expect(routeOf(eventWith({ action: "health" }), 8).action).toBe("health");
});
