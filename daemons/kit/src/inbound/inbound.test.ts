import { CODES, type ErrorCode, eventId, traceIdOf } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { eventOf, lobby, StubConnector } from "../testing/stub-connector.ts";
import { eventually, World } from "../testing/world.ts";

test("an event is signed under the id that it implies, and its ack becomes a checkpoint", async () => {
  await using world = await World.make();
  const identity = { ...world.core.link("id-1"), home: "old-home" };
  world.core.identities.set("id-1", identity);
  const connector = new StubConnector();
  await world.up(connector);
  await connector.host("id-1").event(eventOf({ identityId: "id-1" }, "m-1", { seq: 7 }));
  await eventually(() => world.core.payloads("checkpoint").length === 1);
  const [event] = world.core.heard.filter(({ action }) => action === "inbound_event");
  const id = eventId({
    workspace: "acme",
    service: "echo",
    home: "old-home",
    account: "id-1",
    kind: "message",
    remoteId: "m-1",
    revision: "0",
  });
  expect(event?.metadata).toMatchObject({
    message_id: id,
    conversation: lobby(),
    epoch: 1,
    workspace_id: "acme",
  });
  expect(event?.trace_id).toBe(traceIdOf(id));
  expect(world.core.payloads("checkpoint")).toEqual([{ account: "id-1", cursor: { seq: 7 } }]);
});

test("a thousand events arrive in order and the last cursor is kept", async () => {
  await using world = await World.make();
  world.core.lease.ttlMs = 60_000; // a slow machine takes seconds for them
  world.core.link("id-1");
  const connector = new StubConnector();
  await world.up(connector);
  const host = connector.host("id-1");
  for (let seq = 1; seq <= 1_000; seq++)
    await host.event(eventOf({ identityId: "id-1" }, `m-${seq}`, { seq }));
  await eventually(() => world.core.identities.get("id-1")?.checkpoint?.seq === 1_000);
  const ids = world.core.payloads("inbound_event").map(({ remote_id }) => remote_id);
  expect(ids).toEqual(Array.from({ length: 1_000 }, (_, index) => `m-${index + 1}`));
  expect(world.core.payloads("checkpoint").length).toBeLessThan(1_000);
});

test("an event that the core refused holds nothing back, whatever the code", async () => {
  await using world = await World.make();
  world.core.lease.ttlMs = 60_000;
  world.core.acking = false;
  world.core.link("id-1");
  const connector = new StubConnector();
  await world.up(connector);
  const host = connector.host("id-1");
  const codes = Object.keys(CODES) as ErrorCode[];
  for (const [at, code] of codes.entries())
    await host.event(eventOf({ identityId: "id-1" }, code, { seq: at + 1 }));
  const events = () => world.core.heard.filter(({ action }) => action === "inbound_event");
  await eventually(() => events().length === codes.length);
  for (const { metadata, payload } of events())
    await world.core.acknowledge("id-1", [metadata.message_id], payload.remote_id as ErrorCode);
  await eventually(() => world.core.identities.get("id-1")?.checkpoint?.seq === codes.length);
});

test("without acks there is no checkpoint; whoever comes next starts where the acks ended", async () => {
  await using world = await World.make();
  world.core.lease.ttlMs = 600;
  world.core.link("id-1");
  const connector = new StubConnector();
  const first = await world.up(connector);
  const host = connector.host("id-1");
  await host.event(eventOf({ identityId: "id-1" }, "m-1", { seq: 1 }));
  await eventually(() => world.core.payloads("checkpoint").length === 1);
  world.core.acking = false;
  await host.event(eventOf({ identityId: "id-1" }, "m-2", { seq: 2 }));
  await eventually(() => world.core.payloads("inbound_event").length === 2);
  first.kill();
  const next = new StubConnector();
  await world.up(next);
  await eventually(() => next.opened.length === 1);
  expect(next.opened[0]?.checkpoint).toEqual({ seq: 1 });
});

test("what was read and not acknowledged when the lease was lost goes first in the next term", async () => {
  await using world = await World.make();
  world.core.lease.ttlMs = 600;
  world.core.link("id-1");
  const connector = new StubConnector();
  await world.up(connector);
  const host = connector.host("id-1");
  await host.event(eventOf({ identityId: "id-1" }, "m-1", { seq: 1 }));
  await eventually(() => world.core.payloads("checkpoint").length === 1);
  world.core.acking = false;
  for (const seq of [2, 3]) await host.event(eventOf({ identityId: "id-1" }, `m-${seq}`, { seq }));
  await eventually(() => world.core.payloads("inbound_event").length === 3);
  world.core.lease.seize();
  await eventually(() => host.signal.aborted);
  world.core.acking = true;
  await eventually(() => connector.host("id-1") !== host);
  await connector.host("id-1").event(eventOf({ identityId: "id-1" }, "m-4", { seq: 4 }));
  await eventually(() => world.core.identities.get("id-1")?.checkpoint?.seq === 4);
  const again = world.core.heard.filter(
    ({ action, metadata }) => action === "inbound_event" && metadata.epoch === 3,
  );
  expect(again.map(({ payload }) => payload.remote_id)).toEqual(["m-2", "m-3", "m-4"]);
});

test("a core that takes nothing in slows the reader down, and nothing is lost", async () => {
  await using world = await World.make();
  world.core.lease.ttlMs = 60_000; // a slow machine takes seconds for so many
  world.core.link("id-1");
  const connector = new StubConnector();
  await world.up(connector);
  const host = connector.host("id-1");
  const release = world.core.pauseIntake();
  let taken = 0;
  const reading = (async () => {
    for (let seq = 1; seq <= 400; seq++) {
      await host.event(eventOf({ identityId: "id-1" }, `m-${seq}`, { seq }));
      taken = seq;
    }
  })();
  await eventually(() => taken === 256);
  await new Promise((resolve) => setImmediate(resolve));
  expect(taken).toBe(256);
  release();
  await reading;
  await eventually(() => world.core.payloads("inbound_event").length === 400);
});

test("text that no envelope can hold is mended, and an event for another account is refused", async () => {
  await using world = await World.make();
  world.core.link("id-1");
  const connector = new StubConnector();
  await world.up(connector);
  const host = connector.host("id-1");
  await host.event(eventOf({ identityId: "id-1" }, "m-1", { seq: 1, text: "a\0b\uD800" }));
  await expect(host.event(eventOf({ identityId: "id-2" }, "m-2", { seq: 2 }))).rejects.toThrow(TypeError);
  await eventually(() => world.core.payloads("inbound_event").length === 1);
  expect(world.core.payloads("inbound_event")[0]?.text).toBe("a\uFFFDb\uFFFD");
});

test("states are reported once each, with what a person needs; throttles slow the sends", async () => {
  await using world = await World.make();
  world.core.link("id-1");
  const connector = new StubConnector();
  await world.up(connector);
  const host = connector.host("id-1");
  const before = world.core.payloads("bridge_state").length;
  const away = {
    state: "transient_disconnect",
    message: "The network went away.",
    code: "platform.unavailable",
  } as const;
  host.state(away);
  host.state(away);
  await eventually(() => world.core.payloads("bridge_state").length > before);
  host.state({ state: "connected", message: "Back\uD800." });
  host.throttle({ reason: "flood", retryAfterMs: 60_000 });
  await eventually(() => world.core.payloads("throttle").length === 1);
  expect(world.core.payloads("bridge_state").slice(before)).toEqual([
    { account: "id-1", ...away },
    { account: "id-1", state: "connected", message: "Back\uFFFD." },
  ]);
  await world.core.say("id-1", { text: "slow" }, { conversation: lobby() });
  expect(world.core.payloads("deferred")).toMatchObject([{ reason: "platform.rate_limited" }]);
});
