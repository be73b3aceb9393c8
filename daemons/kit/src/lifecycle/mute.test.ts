/**
 * The kind: an outage of the broker or the core makes daemons leave their networks, or send without a lease.
 */
import type { EmbeddedBus } from "@linkspan/fabric";
import { expect, test } from "vitest";
import { eventOf, lobby, StubConnector } from "../testing/stub-connector.ts";
import { eventually, World } from "../testing/world.ts";

test("in an outage a daemon is mute and stays; afterwards it goes on in the same epoch, and nothing is lost", async () => {
  await using world = await World.make();
  const { core } = world;
  core.lease.ttlMs = 600;
  core.lease.stayMs = 60_000;
  core.link("id-1");
  const connector = new StubConnector();
  const { daemon } = await world.up(connector);
  const heard = () => core.payloads<{ text: string }>("inbound_event").map(({ text }) => text);

  core.silent = true;
  await eventually(() => daemon.isMute);
  const asked = core.asked.filter(({ action }) => action !== "hello").length;
  await connector.host("id-1").event(eventOf({ identityId: "id-1" }, "during", { seq: 1 }));
  const said = core.say("id-1", { text: "later" }, { conversation: lobby() });
  const beats = core.asked.length;
  // Long enough for anything that would be sent or asked: several beats, each a third of the lease.
  await eventually(() => core.asked.length > beats + 3);
  expect(heard()).toEqual([]);
  expect(connector.performed).toEqual([]);
  expect(core.asked.filter(({ action }) => action !== "hello")).toHaveLength(asked);
  expect([connector.closed, connector.opened.length, connector.host("id-1").signal.aborted]).toEqual([
    [],
    1,
    false,
  ]);

  core.silent = false;
  await said;
  await eventually(() => heard().length === 1 && connector.performed.length === 1);
  await eventually(() => core.payloads("delivery_status").length === 1);
  await eventually(() => !daemon.isMute); // a slow machine may be late with the beat after this one
  expect(daemon.epoch).toBe(1);
  expect(connector.opened).toHaveLength(1);
});

test("when the outage outlasts the second end the daemon leaves, and comes back when it is heard again", async () => {
  await using world = await World.make();
  const { core } = world;
  core.lease.ttlMs = 600;
  core.lease.stayMs = 1_500;
  core.link("id-1");
  const connector = new StubConnector();
  const { daemon } = await world.up(connector);
  core.silent = true;
  await eventually(() => daemon.isMute);
  expect(connector.closed).toEqual([]);
  await eventually(() => connector.closed.length === 1);
  core.silent = false;
  await eventually(() => connector.opened.length === 2);
});

test("a part whose window outlasts the lease is not written on: its window closes when the lease runs out", async () => {
  await using world = await World.make();
  const { core } = world;
  core.lease.ttlMs = 600;
  core.lease.stayMs = 60_000;
  core.link("id-1");
  const connector = new StubConnector();
  const { daemon } = await world.up(connector);
  const closed = Promise.withResolvers<number>();
  connector.onPerform = ({ window }) =>
    new Promise((_, reject) => {
      core.silent = true;
      window.signal.addEventListener("abort", () => {
        closed.resolve(window.untilMs - performance.now());
        reject(new Error("the window closed"));
      });
    });
  const said = core.say("id-1", { text: "half way" }, { conversation: lobby() });
  expect(await closed.promise).toBeGreaterThan(5_000);
  expect(daemon.isMute).toBe(true);
  core.silent = false;
  await said;
});

test("with a core that knows one end only, a daemon leaves at it as before", async () => {
  await using world = await World.make();
  const { core } = world;
  core.lease.ttlMs = 600;
  core.link("id-1");
  const connector = new StubConnector();
  await world.up(connector);
  core.silent = true;
  await eventually(() => connector.closed.length === 1);
});

test.each(["declare", "publish", "subscribe"] as const)(
  "a stop while a term begins and the broker does not answer (%s) does not wait for the second end",
  async (method) => {
    await using world = await World.make();
    const { core } = world;
    core.lease.ttlMs = 600;
    core.lease.stayMs = 60_000;
    core.link("id-1");
    const bootId = "a-boot";
    await using bus = world.broker.connect({ service: core.service, instance: core.instance, bootId });
    const asked = Promise.withResolvers<void>();
    const deaf = new Proxy(bus, {
      get(target, key: keyof EmbeddedBus) {
        if (key === method) {
          return () => {
            asked.resolve();
            return new Promise<never>(() => undefined);
          };
        }
        const value: unknown = Reflect.get(target, key);
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
    const { daemon } = await world.start(new StubConnector(), { bus: deaf, bootId });
    await asked.promise;
    let isOver = false;
    void daemon[Symbol.asyncDispose]().then(() => (isOver = true));
    await eventually(() => isOver);
  },
);
