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
  const text = fc.stringMatching(/^[\x21-\x7e]{1,128}$/);
  const traceparent = fc.stringMatching(/^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/);
  const message: fc.Arbitrary<Outgoing> = fc.record(
    {
      route,
      body: fc.uint8Array(),
      messageId: text,
      kid: text,
      sig: fc.stringMatching(/^[A-Za-z0-9_-]{1,200}$/),
      inReplyTo: text,
      traceparent,
    },
    { requiredKeys: ["route", "body", "messageId"] },
  );
  const wire = new Wire({ service: "irc" });
  const core = new Wire({ service: "core" });
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
      const dead = core.decodeDead(received(core.encodeDead(delivery, routingKey(sent.route), death)));
      expect(dead).toEqual({ ...delivery, death });
    }),
  );
});

test("sets what the contract asks for", () => {
  const now = () => Date.parse("2026-11-20T11:34:58.987Z");
  const wire = new Wire({ service: "irc", instance: "home", userId: "daemon-1" }, now);
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
    type: "hello",
    appId: "daemon:irc:home",
    timestamp: 1_795_174_498,
    expiration: 1_501,
    userId: "daemon-1",
    headers: { kid: "k" },
  } satisfies Options.Publish);
  expect(new Wire({ service: "vault" }).encode(message).options.appId).toBe("core");
});

test("a question has its own id as correlation id, an answer has the question's, and each its action as type", () => {
  const daemon = new Wire({ service: "irc" });
  const core = new Wire({ service: "core" });
  const route = { service: "core", instance: "primary", action: "hello", partition: 0 };
  const body = Buffer.from("x");
  const replyTo = "reply.irc._.b";
  const asked = daemon.encode({ route, body, messageId: "q", replyTo });
  expect(asked.options).toMatchObject({ correlationId: "q", replyTo, type: "hello", headers: {} });
  expect(core.decode(received(asked))).toMatchObject({ correlationId: "q", inReplyTo: undefined });

  const foreign = { ...asked, options: { ...asked.options, correlationId: "its own" } };
  const { correlationId } = core.decode(received(foreign));
  const answer = core.encodeReply(replyTo, { route, body, messageId: "a", inReplyTo: "q", correlationId });
  expect(answer.options).toMatchObject({
    correlationId: "its own",
    type: "hello",
    headers: { "in-reply-to": "q", route: "core._.hello.p00" },
  });
  expect(daemon.decodeReply(received(answer))).toMatchObject({ inReplyTo: "q", route });
});

test("an answer of another program, or of an older version of this one, is understood", () => {
  const wire = new Wire({ service: "core" });
  const answer = (options: Options.Publish) =>
    wire.decodeReply(
      received({ key: "reply.core._.b", destination: "", content: Buffer.from("x"), options }),
    );
  expect(answer({ correlationId: "q", type: "link_account" })).toMatchObject({ inReplyTo: "q" });
  expect(answer({ correlationId: "q", type: "core._.hello.p00" })).toMatchObject({
    inReplyTo: "q",
    route: { service: "core", instance: "primary", action: "hello", partition: 0 },
  });
});

test("takes no nonsense from the wire", () => {
  const wire = new Wire({ service: "irc" });
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
  const dead = { ...bare, fields: { ...bare.fields, routingKey: "bridge.dead.irc._" } };
  expect(wire.decodeDead(dead)).toMatchObject({ death: { code: "bus.rejected", detail: "", queue: "" } });
  expect(() => wire.decode({ ...odd, fields: { ...odd.fields, routingKey: "irc.#.hello.p00" } })).toThrow(
    FabricError,
  );
});

test("nothing that a broker hands over throws past the decoder, and every value that comes out is within its bound", () => {
  const wild = fc.oneof(
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.constantFrom(
      "a\0b",
      "x".repeat(300_000),
      "\ud800",
      "é",
      "",
      " ",
      "k\r\nk",
      "reply.irc._.\0",
      "\u2028",
    ),
    fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true, maxDepth: 4 }),
    fc.constantFrom(Number.NaN, -0, Buffer.from([0, 255]), 2 ** 60, { "!": "timestamp", value: 1 }),
  );
  const names = [
    "kid",
    "sig",
    "traceparent",
    "death-code",
    "death-detail",
    "death-queue",
    "death-route",
    "x-death",
    "CC",
  ];
  const headers = fc.oneof(fc.dictionary(fc.constantFrom(...names), wild), wild);
  const properties = fc.record(
    {
      headers,
      messageId: wild,
      correlationId: wild,
      replyTo: wild,
      type: wild,
      userId: wild,
      expiration: wild,
    },
    { requiredKeys: [] },
  );
  const routingKey = fc.oneof(
    fc.constantFrom("irc._.hello.p00", "bridge.dead", "bridge.dead.irc._", "bridge.dead.core._", "a\0b", ""),
    fc.string({ unit: "binary", maxLength: 255 }),
  );
  const wire = new Wire({ service: "core" });
  fc.assert(
    fc.property(properties, routingKey, fc.constantFrom("bridge", ""), (odd, key, exchange) => {
      const fields = { deliveryTag: 1, redelivered: false, exchange, routingKey: key };
      const message: Message = {
        content: Buffer.from("x"),
        properties: odd as unknown as Message["properties"],
        fields,
      };
      const decoded = [wire.decodeReply(message), wire.decodeDead(message), wire.decodeUnrouted(message)];
      try {
        decoded.push(wire.decode(message));
      } catch (error) {
        expect(error).toBeInstanceOf(FabricError);
        expect(error).toMatchObject({ code: "topic.malformed" });
      }
      for (const { kid, sig, messageId, inReplyTo, replyTo, traceparent, death } of decoded) {
        for (const text of [kid, messageId, inReplyTo]) expect(text ?? "x").toMatch(/^[\x21-\x7e]{1,128}$/);
        expect(sig ?? "x").toMatch(/^[\x20-\x7e]{1,4096}$/);
        expect((replyTo ?? "").length).toBeLessThanOrEqual(255);
        expect((traceparent ?? "").length).toBeLessThanOrEqual(55);
        for (const text of [death?.detail ?? "", death?.queue ?? ""]) {
          expect(text.length).toBeLessThanOrEqual(1_000);
          expect(text).not.toMatch(/[\p{Cc}\p{Cs}]/u);
        }
      }
    }),
  );
});

test("a process publishes nothing outside the bounds that hold for what it receives", () => {
  const wire = new Wire({ service: "irc" });
  const route = { service: "irc", instance: "primary", action: "hello", partition: 0 };
  const good: Outgoing = { route, body: Buffer.from("x"), messageId: "m" };
  const codeOf = (change: Partial<Outgoing>): string => {
    try {
      wire.encode({ ...good, ...change });
      return "encoded";
    } catch (error) {
      return error instanceof FabricError ? error.code : String(error);
    }
  };
  expect(codeOf({})).toBe("encoded");
  expect(codeOf({ body: Buffer.alloc(2_097_153) })).toBe("envelope.too_large");
  for (const change of [
    { kid: "a\0b" },
    { kid: "" },
    { kid: "k".repeat(129) },
    { sig: "s\r\n" },
    { sig: "s".repeat(4_097) },
    { messageId: "m".repeat(300) },
    { messageId: "" },
    { inReplyTo: "ü" },
    { traceparent: "00-x" },
    { ttlMs: Number.POSITIVE_INFINITY },
    { ttlMs: Number.NaN },
    { ttlMs: -1 },
  ]) {
    expect([change, codeOf(change)]).toEqual([change, "envelope.schema"]);
  }
});

test("a dead letter says no more than its reporter may: its own service's messages, and nobody's by another way", () => {
  const core = new Wire({ service: "core" });
  const daemon = new Wire({ service: "irc", instance: "home" });
  const death = { code: "envelope.schema", detail: "why", queue: "q" } as const;
  const delivery = core.decodeUnrouted(
    received({ key: "x", destination: "", content: Buffer.from("x"), options: {} }),
  );
  const told = (wire: Wire, key: string, change: Partial<Message["fields"]> = {}) => {
    const message = received(wire.encodeDead(delivery, key, death));
    const { route, death: decoded } = core.decodeDead({
      ...message,
      fields: { ...message.fields, ...change },
    });
    return [route.service, decoded?.code];
  };
  expect(daemon.encodeDead(delivery, "irc.home.hello.p00", death).key).toBe("bridge.dead.irc.home");
  expect(told(daemon, "irc.home.hello.p00")).toEqual(["irc", "envelope.schema"]);
  expect(told(core, "xmpp._.hello.p00")).toEqual(["xmpp", "envelope.schema"]);
  expect(told(daemon, "xmpp._.hello.p00")).toEqual(["unknown", "envelope.misrouted"]);
  expect(told(daemon, "core._.changed.p00")).toEqual(["unknown", "envelope.misrouted"]);
  for (const change of [
    { routingKey: "bridge.dead" },
    { routingKey: "irc.home.inbound_event.p00" },
    { routingKey: "bridge.dead.core._.x" },
    { exchange: "" },
    { exchange: "amq.topic" },
  ]) {
    expect([change, ...told(core, "irc._.hello.p00", change)]).toEqual([
      change,
      "unknown",
      "envelope.misrouted",
    ]);
  }
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
