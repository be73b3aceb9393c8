import { FabricError } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { StubConnector } from "../testing/stub-connector.ts";
import { eventually, World } from "../testing/world.ts";

test("a held instance opens its identities from their checkpoints and tells what it can", async () => {
  await using world = await World.make();
  world.core.identities.set("id-1", { ...world.core.link("id-1", { name: "ada" }), checkpoint: { seq: 41 } });
  world.core.link("id-2");
  const connector = new StubConnector();
  const { daemon } = await world.up(connector);
  expect(daemon.epoch).toBe(1);
  expect(connector.opened).toMatchObject([
    { identityId: "id-1", home: "primary", settings: { name: "ada" }, checkpoint: { seq: 41 } },
    { identityId: "id-2", checkpoint: undefined },
  ]);
  const [told] = world.core.heard.filter(({ action }) => action === "capabilities");
  expect(told?.payload.capabilities).toMatchObject({ send: ["text"], pace: { burst: 1_000 } });
  expect(told?.metadata).toMatchObject({ issuer: "daemon:echo:primary", workspace_id: "_", epoch: 1 });
  await eventually(() => world.core.payloads("health").some(({ status }) => status === "ok"));
});

test("one identity that cannot be opened does not keep the others from it, and is tried again", async () => {
  await using world = await World.make();
  for (const id of ["id-1", "id-2", "id-3"]) world.core.link(id);
  const connector = new StubConnector();
  let failures = 0;
  connector.onOpen = async ({ identityId }, host) => {
    if (identityId === "id-2" && ++failures < 2) throw new Error("no route to host");
    host.state({ state: "connected", message: "It is up." });
  };
  await world.up(connector);
  const states = world.core.payloads("bridge_state").filter(({ account }) => account === "id-2");
  const failed = states.find(({ state }) => state === "unknown_error");
  expect(failed?.code).toBe("internal");
  expect(failed?.message).toMatch(/\w/);
  expect(failed?.retry_at).toMatch(/Z$/);
  expect(failures).toBe(2);
});

test("a refused login is reported and left alone until something changes", async () => {
  await using world = await World.make();
  world.core.link("id-1");
  const connector = new StubConnector();
  let right = false;
  connector.onOpen = async (_identity, host) => {
    if (!right) throw new FabricError("platform.auth_expired", "the password is wrong");
    host.state({ state: "connected", message: "It is up." });
  };
  await world.start(connector);
  await eventually(() =>
    world.core.payloads("bridge_state").some(({ state }) => state === "bad_credentials"),
  );
  expect(connector.opened).toHaveLength(1);
  right = true;
  world.core.link("id-1", { name: "new settings" });
  await world.core.tell("changed", { what: "assignments" }, { workspace_id: "_" }, "core");
  await eventually(() => world.core.payloads("bridge_state").at(-1)?.state === "connected");
  expect(connector.opened).toHaveLength(2);
});

test("assignments that change are followed: what is new is opened, what is gone is closed", async () => {
  await using world = await World.make();
  world.core.link("id-1");
  const connector = new StubConnector();
  await world.up(connector);
  world.core.identities.delete("id-1");
  world.core.link("id-2");
  await world.core.tell(
    "changed",
    { what: "assignments", service: "echo", instance: "primary" },
    { workspace_id: "_" },
    "core",
  );
  await eventually(() => connector.closed.includes("id-1") && connector.hosts.has("id-2"));
  expect(connector.host("id-1").signal.aborted).toBe(true);
});

test("of two processes one holds the instance; the other follows when it is killed, and only then", async () => {
  await using world = await World.make();
  world.core.lease.ttlMs = 600;
  world.core.link("id-1");
  const [first, second] = [new StubConnector(), new StubConnector()];
  const holder = await world.up(first);
  const waiter = await world.start(second);
  await eventually(() => world.core.asked.filter(({ action }) => action === "hello").length > 4);
  expect(second.opened).toEqual([]);
  expect(waiter.daemon.epoch).toBeUndefined();

  holder.kill();
  await eventually(() => second.opened.length === 1);
  expect(waiter.daemon.epoch).toBe(2);
  await eventually(() => first.host("id-1").signal.aborted);
  expect(holder.daemon.epoch).toBeUndefined();
});

test("a lease that is lost stops everything at once, and is waited for again", async () => {
  await using world = await World.make();
  world.core.lease.ttlMs = 600;
  world.core.link("id-1");
  const connector = new StubConnector();
  const { daemon } = await world.up(connector);
  const host = connector.host("id-1");
  world.core.lease.seize();
  await eventually(() => host.signal.aborted);
  const heard = world.core.heard.length;
  await expect(host.event({} as never)).rejects.toMatchObject({ code: "lease.lost" });
  await eventually(() => connector.opened.length === 2);
  expect(daemon.epoch).toBe(3);
  const later = world.core.heard.slice(heard);
  expect(later.filter(({ metadata }) => metadata.epoch === 1)).toEqual([]);
});

test("another partition count or generation than the namespace's is refused for good", async () => {
  await using world = await World.make();
  const { daemon } = await world.start(new StubConnector(), { partitions: 8 });
  await expect(daemon.done).rejects.toMatchObject({ code: "request.invalid" });
  await expect(daemon.done).rejects.toThrow(/2 partitions in generation 1.*configured for 8/);
  const other = await world.start(new StubConnector(), { generation: 7 });
  await expect(other.daemon.done).rejects.toMatchObject({ code: "request.invalid" });
});

test("a polite stop closes the connections, says so, and leaves nothing open", async () => {
  await using world = await World.make();
  world.core.link("id-1");
  const connector = new StubConnector();
  const running = await world.up(connector);
  await running.daemon[Symbol.asyncDispose]();
  expect(connector.closed).toEqual(["id-1"]);
  expect(connector.host("id-1").signal.aborted).toBe(true);
  expect(world.core.payloads("bridge_state").at(-1)).toMatchObject({ state: "transient_disconnect" });
  expect(running.daemon.epoch).toBeUndefined();
});
