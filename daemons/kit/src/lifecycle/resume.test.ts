/**
 * The kind: the size of a daemon's requests and reports grows with the number of its identities, or with the
 * data of a platform.
 */
import { FabricError } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import type { Connection, IdentityHost, LinkedIdentity } from "../connector.ts";
import { eventOf, StubConnector } from "../testing/stub-connector.ts";
import { eventually, World } from "../testing/world.ts";

test("identities come in pages, and every page is served", async () => {
  await using world = await World.make();
  world.core.resumePage = 3;
  const ids = Array.from({ length: 10 }, (_, index) => `id-${index}`);
  for (const id of ids) world.core.link(id);
  const connector = new StubConnector();
  await world.up(connector);
  expect(new Set(connector.opened.map(({ identityId }) => identityId))).toEqual(new Set(ids));
  const asked = world.core.asked
    .filter(({ action }) => action === "resume")
    .map(({ payload }) => payload.cursor);
  expect(asked.slice(0, 4)).toEqual(["", "id-2", "id-5", "id-8"]);
});

test("a daemon that cannot resume says so, with the code, and says again when it can", async () => {
  await using world = await World.make();
  world.core.link("id-1");
  world.core.resumption = new FabricError("envelope.too_large", "no envelope holds it");
  const connector = new StubConnector();
  const { daemon } = await world.start(connector);
  await eventually(() =>
    world.core
      .payloads("health")
      .some(({ status, code }) => status === "down" && code === "envelope.too_large"),
  );
  expect(daemon.isServing).toBe(false);
  world.core.resumption = undefined;
  await eventually(() => {
    const last = world.core.payloads("health").at(-1);
    return last?.status === "ok" && last.code === undefined;
  });
  expect(daemon.isServing).toBe(true);
});

test("a roster of any size is told in envelopes that hold it; entries beyond a bound are left out", async () => {
  await using world = await World.make();
  world.core.link("id-1");
  const entries = Array.from({ length: 3_000 }, (_, index) => ({
    ref: `msgr://identity/bridges/echo/${index}`,
    name: "n".repeat(1_500),
    kind: "contact" as const,
  }));
  const endless = {
    ref: "msgr://identity/bridges/echo/endless",
    name: "n".repeat(2_000_000),
    kind: "contact" as const,
  };
  const connector = new (class extends StubConnector {
    override async open(identity: LinkedIdentity, host: IdentityHost): Promise<Connection> {
      return { ...(await super.open(identity, host)), roster: async () => [endless, ...entries] };
    }
  })();
  await world.up(connector);
  await world.core.tell("refresh_roster", {}, { identity_id: "id-1" });
  await eventually(() => world.core.payloads("sync_complete").length === 1);
  const told = world.core.payloads<{ entries: { ref: string }[] }>("roster_snapshot");
  expect(told.flatMap(({ entries: page }) => page.map(({ ref }) => ref))).toEqual(
    entries.map(({ ref }) => ref),
  );
});

test("a sentence of any length from a platform is told shortened", async () => {
  await using world = await World.make();
  world.core.link("id-1");
  const connector = new StubConnector();
  await world.up(connector);
  connector.host("id-1").state({ state: "transient_disconnect", message: "x".repeat(2_000_000) });
  connector.host("id-1").throttle({ reason: "y".repeat(2_000_000), retryAfterMs: Number.NaN });
  await eventually(() => world.core.payloads("throttle").length === 1);
  await eventually(() =>
    world.core
      .payloads<{ message: string; state: string }>("bridge_state")
      .some(({ state, message }) => state === "transient_disconnect" && message.length === 1_000),
  );
});

test("an answer to a link that no envelope holds is refused at once", async () => {
  await using world = await World.make();
  world.core.link("id-1");
  const connector = new StubConnector();
  connector.link = async () => ({
    status: "linked",
    remote: "r",
    name: "n",
    settings: Object.fromEntries(
      Array.from({ length: 100 }, (_, index) => [`s${index}`, "x".repeat(20_000)]),
    ),
  });
  await world.up(connector);
  const ticket = await world.core.sessionTicket("new");
  const answer = await world.core.request("link_account", { settings: {} }, { identity_id: "new", ticket });
  expect(answer.payload.error).toMatchObject({ code: expect.stringMatching(/^envelope\./) as string });
});

test("a cursor that resume could not hand out again is no checkpoint; its event and the next cursor are kept", async () => {
  await using world = await World.make();
  world.core.link("id-1");
  const connector = new StubConnector();
  await world.up(connector);
  const huge = eventOf({ identityId: "id-1" }, "m1", { seq: 1 });
  const host = connector.host("id-1");
  // As many short members as needed: no single one exceeds a limit of the envelope.
  const cursor = Object.fromEntries(
    Array.from({ length: 4_000 }, (_, index) => [`channel-${index}`, "0123456789"]),
  );
  await host.event({ ...huge, payload: { ...huge.payload, cursor } });
  await host.event(eventOf({ identityId: "id-1" }, "m2", { seq: 2 }));
  await eventually(() => world.core.payloads("checkpoint").length > 0);
  expect(world.core.payloads("inbound_event")).toHaveLength(2);
  expect(world.core.payloads<{ cursor: unknown }>("checkpoint").map((note) => note.cursor)).toEqual([
    { seq: 2 },
  ]);
});
