import { FabricError } from "@linkspan/envelopes";
import { aborted } from "@linkspan/time";
import { expect, test } from "vitest";
import { eventOf, lobby, StubConnector } from "../testing/stub-connector.ts";
import { eventually, World } from "../testing/world.ts";

async function worldWith(connector = new StubConnector()) {
  const world = await World.make();
  world.core.link("id-1");
  await world.up(connector);
  return { world, core: world.core, connector };
}

test("credentials are leased sealed, shown to the connector alone, and wiped when it is closed", async () => {
  await using world = await World.make();
  world.core.link("id-1");
  world.core.vault.credentials.set("id-1", { fields: { password: Buffer.from("hunter2") }, version: 3 });
  const connector = new StubConnector();
  const running = await world.up(connector);
  const { secrets } = connector.host("id-1");
  const password = secrets.get("password");
  expect(Buffer.from(password ?? []).toString()).toBe("hunter2");
  expect(secrets.names).toEqual(["password"]);
  expect(`${JSON.stringify(secrets)} ${String(secrets)}`).not.toContain("hunter2");
  await running.daemon[Symbol.asyncDispose]();
  expect(Buffer.from(password ?? []).every((byte) => byte === 0)).toBe(true);
  expect(secrets.names).toEqual([]);
  expect(world.core.asked.map(({ action }) => action)).toContain("release");
});

test("a lease is renewed in time; one that ended is taken anew, and the connection does not notice", async () => {
  await using world = await World.make();
  world.core.link("id-1");
  world.core.vault.ttlMs = 100;
  world.core.vault.credentials.set("id-1", { fields: { password: Buffer.from("old") }, version: 1 });
  const connector = new StubConnector();
  await world.up(connector);
  const count = (wanted: string) => world.core.asked.filter(({ action }) => action === wanted).length;
  await eventually(() => count("renew") > 2);
  expect(count("checkout")).toBe(1);
  world.core.vault.credentials.set("id-1", { fields: { password: Buffer.from("new") }, version: 2 });
  world.core.vault.renewal = new FabricError("vault.lease_expired", "its longest term is over");
  await eventually(() => count("checkout") > 1);
  world.core.vault.renewal = undefined;
  await eventually(
    () => Buffer.from(connector.host("id-1").secrets.get("password") ?? []).toString() === "new",
  );
  expect(connector.opened).toHaveLength(1);
});

test("a revoked credential ends the connection at once, and says what to do", async () => {
  await using world = await World.make();
  world.core.link("id-1");
  world.core.vault.ttlMs = 100;
  world.core.vault.credentials.set("id-1", { fields: { password: Buffer.from("hunter2") }, version: 1 });
  const connector = new StubConnector();
  await world.up(connector);
  const { secrets } = connector.host("id-1");
  world.core.vault.renewal = new FabricError("vault.revoked", "somebody revoked it");
  await eventually(() => connector.closed.includes("id-1"));
  expect(secrets.names).toEqual([]);
  await eventually(() => world.core.payloads("bridge_state").at(-1)?.state === "bad_credentials");
  expect(world.core.payloads("bridge_state").at(-1)?.code).toBe("vault.revoked");
});

test("a vault that does not answer costs the connection only when the term is over", async () => {
  await using world = await World.make();
  world.core.link("id-1");
  world.core.vault.ttlMs = 1_500;
  world.core.vault.credentials.set("id-1", { fields: { password: Buffer.from("hunter2") }, version: 1 });
  const connector = new StubConnector();
  await world.up(connector);
  world.core.vault.renewal = new FabricError("vault.sealed", "an operator must unseal it");
  await eventually(() => world.core.asked.some(({ action }) => action === "renew"));
  expect(connector.closed).toEqual([]);
  await eventually(() => connector.closed.includes("id-1"));
  await eventually(() => world.core.payloads("bridge_state").some(({ code }) => code === "vault.sealed"));
  world.core.vault.renewal = undefined;
  await eventually(() => world.core.payloads("bridge_state").at(-1)?.state === "connected");
});

test("a refreshed credential goes back by compare-and-swap", async () => {
  await using world = await World.make();
  world.core.link("id-1");
  world.core.vault.credentials.set("id-1", { fields: { token: Buffer.from("old") }, version: 3 });
  const connector = new StubConnector();
  await world.up(connector);
  const host = connector.host("id-1");
  await host.writeBack({ token: Buffer.from("new") });
  await host.writeBack({ token: Buffer.from("newer") });
  expect(world.core.vault.credentials.get("id-1")?.version).toBe(5);
  expect(Buffer.from(world.core.vault.credentials.get("id-1")?.fields.token ?? []).toString()).toBe("newer");
  expect(Buffer.from(host.secrets.get("token") ?? []).toString()).toBe("newer");
  world.core.vault.credentials.set("id-1", { fields: { token: Buffer.from("theirs") }, version: 9 });
  await expect(host.writeBack({ token: Buffer.from("ours") })).rejects.toMatchObject({
    code: "vault.conflict",
  });
});

test("a link request is tried with the credentials that its ticket leases", async () => {
  const { world, core, connector } = await worldWith();
  await using _ = world;
  core.vault.credentials.set("id-9", { fields: { password: Buffer.from("hunter2") }, version: 1 });
  connector.link = async (identity, host) => ({
    status: "linked",
    remote: `ada@${String(identity.settings.network)}`,
    name: Buffer.from(host.secrets.get("password") ?? []).toString(),
  });
  const ticket = await core.sessionTicket("id-9");
  const reply = await core.request(
    "link_account",
    { session_id: "s-1", settings: { network: "libera" } },
    { identity_id: "id-9", user_id: "ada", ticket },
  );
  expect(reply.payload).toEqual({ status: "linked", remote: "ada@libera", name: "hunter2" });
  expect(reply.metadata).toMatchObject({ issuer: "daemon:echo:primary" });
});

test("without a link of its own, a connection is opened and its first telling state decides", async () => {
  const { world, core, connector } = await worldWith();
  await using _ = world;
  const linkAs = async (identity_id: string) => {
    const ticket = await core.sessionTicket(identity_id);
    return (await core.request("link_account", { settings: {} }, { identity_id, user_id: "ada", ticket }))
      .payload;
  };
  expect(await linkAs("id-8")).toEqual({ status: "linked", remote: "id-8!remote", name: "id-8" });
  expect(connector.closed).toEqual(["id-8"]);
  connector.onOpen = async (_identity, host) => {
    host.state({ state: "connecting", message: "Trying." });
    host.state({
      state: "bad_credentials",
      message: "The password is wrong.",
      code: "platform.auth_expired",
    });
  };
  expect(await linkAs("id-8")).toEqual({
    status: "failed",
    code: "platform.auth_expired",
    message: "The password is wrong.",
  });
  connector.onOpen = () => Promise.reject(new Error("boom"));
  expect(await linkAs("id-8")).toMatchObject({ status: "failed", code: "internal" });
});

test("disconnect closes one identity and says so; reauthenticate brings it back", async () => {
  const { world, core, connector } = await worldWith();
  await using _ = world;
  const gone = await core.request("disconnect", { identity_id: "id-1" });
  expect(gone.payload).toEqual({ status: "disconnected" });
  expect(connector.closed).toEqual(["id-1"]);
  expect(core.payloads("bridge_state").at(-1)).toMatchObject({ account: "id-1", state: "logged_out" });
  connector.link = async () => ({ status: "linked", remote: "ada", name: "ada" });
  const ticket = await core.sessionTicket("id-1");
  const back = await core.request("reauthenticate", {}, { identity_id: "id-1", user_id: "ada", ticket });
  expect(back.payload).toMatchObject({ status: "linked" });
  await eventually(() => connector.opened.length === 2);
});

test("health is answered, and settings are asked for anew", async () => {
  const { world, core, connector } = await worldWith();
  await using _ = world;
  expect((await core.request("health_snapshot", {})).payload).toEqual({ status: "ok", identities: 1 });
  core.link("id-1", { nick: "new" });
  expect((await core.request("configure_bridge", { settings: {} })).payload).toEqual({
    status: "configured",
  });
  await eventually(() => connector.opened.at(-1)?.settings.nick === "new");
});

test("history comes through the identity's own stream, then sync_complete", async () => {
  const { world, core } = await worldWith();
  await using _ = world;
  await core.tell("request_history", { conversation: lobby(), limit: 10 }, { identity_id: "id-1" });
  const actions = core.heard.map(({ action }) => action).filter((action) => /inbound|sync/.test(action));
  expect(actions).toEqual(["inbound_event", "sync_complete"]);
  expect(core.payloads("sync_complete")).toEqual([{ account: "id-1", conversation: lobby() }]);
  await core.tell("refresh_roster", {}, { identity_id: "id-1" });
  expect(core.payloads("roster_snapshot")).toEqual([
    { account: "id-1", entries: [{ ref: lobby(), name: "lobby", kind: "channel" }] },
  ]);
});

test("joining a channel is an intent like any other", async () => {
  const { world, core, connector } = await worldWith();
  await using _ = world;
  connector.onPlan = ({ action, payload }) => [
    { index: 0, data: `${action} ${String(payload.channel)}`, cost: 1 },
  ];
  await core.say("id-1", { channel: "#lobby" }, { action: "join_channel" });
  expect(connector.performed).toMatchObject([{ text: "join_channel #lobby" }]);
  expect(core.payloads("delivery_status")).toMatchObject([{ status: "sent" }]);
});

test("a stopping daemon finishes what it is saying and keeps its last checkpoint", async () => {
  await using world = await World.make();
  world.core.link("id-1");
  const connector = new StubConnector();
  const running = await world.up(connector);
  const finish = Promise.withResolvers<void>();
  connector.onPerform = async () => {
    await finish.promise;
    return { remoteId: "r", at: new Date() };
  };
  const saying = world.core.say("id-1", { text: "last words" }, { conversation: lobby() });
  await eventually(() => connector.performed.length === 1);
  void connector.host("id-1").event(eventOf({ identityId: "id-1" }, "m-1", { seq: 5 }));
  const stopping = running.daemon[Symbol.asyncDispose]();
  expect(connector.performed[0]?.window.signal.aborted).toBe(false);
  finish.resolve();
  await Promise.all([saying, stopping, aborted(connector.host("id-1").signal)]);
  expect(world.core.payloads("delivery_status")).toMatchObject([{ status: "sent" }]);
  expect(world.core.identities.get("id-1")?.checkpoint).toEqual({ seq: 5 });
});

test("an envelope that is not the core's is refused and dead-lettered, whatever it contains", async () => {
  const { world, core, connector } = await worldWith();
  await using _ = world;
  const dead: string[] = [];
  await core.bus.subscribe(
    { name: "bridge.dead", kind: "shared", bindings: [] },
    {
      handle: async (batch) => {
        for (const { delivery } of batch) dead.push(delivery.death?.code ?? "");
        return batch.map(() => ({ do: "ack" }) as const);
      },
    },
  );
  await core.sayAsStranger("id-1", { text: "hello" });
  await core.sayAsDaemon("id-1", { text: "hello" });
  expect(dead).toEqual(["envelope.unknown_key", "envelope.wrong_issuer"]);
  expect(connector.performed).toEqual([]);
});
