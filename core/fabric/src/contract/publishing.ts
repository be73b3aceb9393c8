import { FabricError } from "@linkspan/envelopes";
import { expect } from "vitest";
import {
  type BusCase,
  eventually,
  ids,
  message,
  outcome,
  publishAll,
  QUEUE,
  recorder,
  unique,
} from "./case.ts";

export const PUBLISHING: Record<string, BusCase> = {
  "carries bytes and headers unchanged": async (harness) => {
    const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([QUEUE]);
    const seen = recorder();
    await core.subscribe(QUEUE, seen);
    const body = Uint8Array.from({ length: 70_000 }, (_, at) => at % 256);
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    await bus.publish(message("full", { body, kid: "k", sig: "s", inReplyTo: "other", traceparent }));
    await bus.publish(message("bare"));
    await eventually(harness, "both arrive", () => seen.deliveries.length === 2);
    const [full, bare] = seen.deliveries;
    expect(Buffer.compare(full?.body ?? new Uint8Array(), body)).toBe(0);
    expect(full).toMatchObject({ kid: "k", sig: "s", messageId: "full", inReplyTo: "other", traceparent });
    expect(full).toMatchObject({ route: message("").route, redelivered: false, attempt: 1 });
    expect(bare).toMatchObject({ kid: undefined, sig: undefined, inReplyTo: undefined, replyTo: undefined });
    expect(bare).toMatchObject({ traceparent: undefined, death: undefined });
  },

  "keeps what is confirmed when the publisher is gone": async (harness) => {
    const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([QUEUE]);
    const seen = recorder();
    await core.subscribe(QUEUE, seen);
    await bus.publish(message("a"));
    await harness.crash(bus);
    await eventually(harness, "the confirmed message arrives", () => seen.ids.includes("a"));
  },

  "reports a mandatory message that no queue takes, and only that": async (harness) => {
    const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([QUEUE]);
    const seen = recorder();
    await core.subscribe(QUEUE, seen);
    const lost = { ...message("").route, service: "nobody" };
    const outcomes = await Promise.all([
      outcome(bus.publish(message("1"))),
      outcome(bus.publish(message("2", { route: lost }))),
      outcome(bus.publish(message("3"))),
      outcome(bus.publish(message("4", { route: lost, mandatory: false }))),
      outcome(bus.publish(message("5"))),
    ]);
    expect(outcomes).toEqual(["confirmed", "bus.unroutable", "confirmed", "confirmed", "confirmed"]);
    await eventually(harness, "the others arrive", () => seen.ids.length === 3);
    expect(seen.ids).toEqual(["1", "3", "5"]);
  },

  "keeps the order of publication without waiting in between": async (harness) => {
    const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([QUEUE]);
    const seen = recorder();
    await core.subscribe(QUEUE, seen, { maxBatch: 7 });
    await publishAll(bus, ids(200));
    await eventually(harness, "all arrive", () => seen.ids.length >= 200);
    expect(seen.ids).toEqual(ids(200));
  },

  "sends the unconfirmed again after a lost connection, in order, before newer ones": async (harness) => {
    const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([QUEUE]);
    const seen = recorder();
    await core.subscribe(QUEUE, seen);
    const before = ids(100, "before").map((id) => outcome(bus.publish(message(id))));
    await harness.cut(bus);
    const after = ids(100, "after").map((id) => outcome(bus.publish(message(id))));
    for (const each of await Promise.all([...before, ...after])) expect(each).toBe("confirmed");
    await eventually(harness, "all arrive", () => unique(seen.ids).length === 200);
    expect(unique(seen.ids)).toEqual([...ids(100, "before"), ...ids(100, "after")]);
  },

  "refuses to publish on a malformed route": async (harness) => {
    const bus = await harness.connect("irc");
    for (const action of ["a.b", "#", "UP", ""]) {
      const route = { ...message("").route, action };
      expect(await outcome(bus.publish(message("x", { route })))).toBe("topic.malformed");
    }
  },

  "tells when a message leaves, and nothing of one that is refused or called off": async (harness) => {
    const bus = await harness.connect("irc");
    await bus.declare([QUEUE]);
    await bus.subscribe(QUEUE, recorder());
    const left: string[] = [];
    const how = (id: string) => ({ onWritten: () => void left.push(id) });
    await bus.publish(message("a"), how("a"));
    const called = { ...how("b"), signal: AbortSignal.abort() };
    expect(await outcome(bus.publish(message("b"), called))).toBe("bus.timeout");
    const route = { ...message("").route, service: "nobody" };
    const asked = bus.request(message("c", { route }), { ...how("c"), timeoutMs: 5_000 });
    expect(await outcome(asked)).toBe("bus.unroutable");
    expect(await outcome(bus.publish(message("d", { kid: "a\0b" }), how("d")))).toBe("envelope.schema");
    expect(left).toEqual(["a", "c"]);
  },

  "gives a publish up when its signal says so": async (harness) => {
    const bus = await harness.connect("irc");
    await bus.declare([QUEUE]);
    const reason = new FabricError("bus.timeout", "test");
    expect(await outcome(bus.publish(message("x"), { signal: AbortSignal.abort(reason) }))).toBe(
      "bus.timeout",
    );
  },

  "drops what is older than its time to live": async (harness) => {
    const bus = await harness.connect("irc");
    await bus.declare([QUEUE]);
    const sent = [message("old", { ttlMs: 20, mandatory: false }), message("new", { mandatory: false })];
    await Promise.all(sent.map((each) => bus.publish(each)));
    const expired = performance.now() + 100;
    await eventually(harness, "its time passes", () => performance.now() > expired);
    const seen = recorder();
    await bus.subscribe(QUEUE, seen);
    await eventually(harness, "the other arrives", () => seen.ids.includes("new"));
    expect(seen.ids).toEqual(["new"]);
  },

  "refuses everything once closed": async (harness) => {
    const bus = await harness.connect("irc");
    await bus.declare([QUEUE]);
    expect(bus.health().state).toBe("up");
    await bus[Symbol.asyncDispose]();
    expect(bus.health().state).toBe("closed");
    expect(await outcome(bus.publish(message("x")))).toBe("bus.unavailable");
    expect(await outcome(bus.subscribe(QUEUE, recorder()))).toBe("bus.unavailable");
    expect(await outcome(bus.request(message("y"), { timeoutMs: 1_000 }))).toBe("bus.unavailable");
  },
};
