import { FabricError, routingKey } from "@linkspan/envelopes";
import type { Message, Options } from "amqplib";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Binding, Outgoing } from "../bus.ts";
import { matches } from "../binding.ts";
import { isReplyAddress, replyAddress } from "../peer.ts";
import { bindingKey, type Encoded, Wire } from "./wire.ts";

const route = fc.record({
  service: fc.constantFrom("irc", "core", "a_1"),
  instance: fc.constantFrom("primary", "home-1", "x"),
  action: fc.constantFrom("inbound_event", "hello"),
  partition: fc.integer({ min: 0, max: 99 }),
});
const binding: fc.Arbitrary<Binding> = fc.record(
  {
    service: fc.constantFrom("irc", "core"),
    instance: fc.constantFrom("primary", "home-1"),
    action: fc.constantFrom("inbound_event", "hello"),
    partition: fc.integer({ min: 0, max: 99 }),
  },
  { requiredKeys: [] },
);

/** What the broker makes of it. */
function received({ key, content, options }: Encoded): Message {
  const properties = { ...options } as unknown as Message["properties"];
  return {
    content,
    properties,
    fields: { deliveryTag: 1, redelivered: false, exchange: "bridge", routingKey: key },
  };
}

test("decodes what it encoded", () => {
  const text = fc.string({ minLength: 1, maxLength: 60 });
  const message: fc.Arbitrary<Outgoing> = fc.record(
    {
      route,
      body: fc.uint8Array(),
      messageId: text,
      kid: text,
      sig: text,
      inReplyTo: text,
      traceparent: text,
    },
    { requiredKeys: ["route", "body", "messageId"] },
  );
  const wire = new Wire(undefined);
  fc.assert(
    fc.property(message, (sent) => {
      for (const got of [
        wire.decode(received(wire.encode(sent))),
        wire.decodeReply(received(wire.encodeReply("reply.irc._.b", sent))),
      ]) {
        expect(got).toMatchObject({ ...sent, body: Buffer.from(sent.body) });
      }
      const delivery = wire.decode(received(wire.encode(sent)));
      const death = { code: "envelope.schema", detail: "why", queue: "q" } as const;
      const dead = wire.decodeDead(received(wire.encodeDead(delivery, routingKey(sent.route), death)));
      expect(dead).toEqual({ ...delivery, death });
    }),
  );
});

test("sets what the contract asks for", () => {
  const wire = new Wire("daemon-1");
  const message: Outgoing = {
    route: { service: "irc", instance: "primary", action: "hello", partition: 7 },
    body: new Uint8Array([1, 2, 3]).subarray(1),
    messageId: "m",
    kid: "k",
    ttlMs: 1_500.2,
    mandatory: false,
  };
  const { key, content, options } = wire.encode(message);
  expect(key).toBe("irc._.hello.p07");
  expect([...content]).toEqual([2, 3]);
  expect(options).toEqual({
    persistent: true,
    mandatory: false,
    contentType: "application/vnd.msgr.bridge.v1+json",
    messageId: "m",
    expiration: 1_501,
    userId: "daemon-1",
    headers: { kid: "k" },
  } satisfies Options.Publish);
});

test("takes no nonsense from the wire", () => {
  const wire = new Wire(undefined);
  const odd = received({
    key: "irc._.hello.p00",
    destination: "",
    content: Buffer.from("x"),
    options: {
      headers: { kid: 5, sig: ["a"], traceparent: null },
      messageId: "m",
      replyTo: "core._.hello.p00",
    },
  });
  expect(wire.decode(odd)).toMatchObject({
    kid: undefined,
    sig: undefined,
    traceparent: undefined,
    replyTo: undefined,
  });
  const bare = { ...odd, properties: {} as Message["properties"] };
  expect(wire.decode(bare)).toMatchObject({ kid: undefined, messageId: undefined, death: undefined });
  expect(wire.decodeDead(bare)).toMatchObject({ death: { code: "bus.rejected", detail: "", queue: "" } });
  expect(() => wire.decode({ ...odd, fields: { ...odd.fields, routingKey: "irc.#.hello.p00" } })).toThrow(
    FabricError,
  );
});

test("a binding's key matches on the broker what the binding matches here", () => {
  fc.assert(
    fc.property(binding, route, (pattern, target) => {
      const words = bindingKey(pattern).split(".");
      const key = routingKey(target).split(".");
      expect(words.every((word, at) => word === "*" || word === key[at])).toBe(matches(pattern, target));
    }),
  );
});

test("a return address has one form", () => {
  expect(replyAddress({ service: "irc", bootId: "b-1" })).toBe("reply.irc._.b-1");
  expect(replyAddress({ service: "irc", instance: "home", bootId: "b" })).toBe("reply.irc.home.b");
  for (const bootId of ["", "a.b", "#", "*", "x".repeat(65)]) {
    expect(() => replyAddress({ service: "irc", bootId })).toThrow(FabricError);
  }
  expect(isReplyAddress("reply.irc._.b\n")).toBe(false);
});
