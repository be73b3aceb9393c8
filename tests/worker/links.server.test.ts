/** The kind: a link or an unlinking that is interrupted between two of its steps. */
import { FabricError } from "@linkspan/envelopes";
import type { Outgoing } from "@linkspan/fabric";
import { type AuthSession, identityById } from "@linkspan/store";
import {
  type Core,
  openSession,
  readSession,
  submitCredentials,
  sweepCredentials,
  sweepSessions,
  unlink,
} from "@linkspan/worker";
import { CREDENTIAL } from "@linkspan/vault";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { openWorld, type World, WORKSPACE } from "./world.ts";

type Transaction = Core["database"]["transaction"];

/** The same object, but for one method. */
function but<T extends object, K extends keyof T>(whole: T, name: K, method: T[K]): T {
  return new Proxy(whole, {
    get(target, key) {
      if (key === name) return method;
      const value: unknown = Reflect.get(target, key);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}

describeWithServers(["postgres"], "links", () => {
  let server: PostgresServer;
  let world: World;

  beforeAll(async () => {
    server = await startPostgres();
    world = await openWorld({ databaseUrl: await server.createDatabase("links") });
    await world.link("first");
  });
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  const open = () =>
    openSession(world.core, { workspaceId: WORKSPACE, userId: "u", service: "echo", actor: "test" });
  const submit = (core: Core, { id }: AuthSession) =>
    submitCredentials(core, {
      workspaceId: WORKSPACE,
      sessionId: id,
      fields: { password: "right" },
      actor: "test",
    });
  const stateOf = async ({ id }: AuthSession) => (await readSession(world.core, WORKSPACE, id)).state;
  const hasCredential = ({ identity_id }: AuthSession) =>
    world.core.vault.has({
      workspaceId: WORKSPACE,
      identityId: identity_id,
      service: "echo",
      kind: CREDENTIAL,
    });
  const bridgeStateOf = async ({ identity_id }: AuthSession) =>
    (await identityById(world.core.database.pool, identity_id))?.bridge_state;
  /** The link's transactions after the one that takes what was entered go through `act`. */
  function interrupted(act: (transaction: Transaction, nth: number) => Transaction): Core {
    const real: Transaction = (work) => world.core.database.transaction(work);
    let count = 0;
    const transaction: Transaction = (work) => (count++ === 0 ? real : act(real, count - 1))(work);
    return { ...world.core, database: but(world.core.database, "transaction", transaction) };
  }
  const lost = () => new FabricError("store.unavailable", "the answer did not come");
  /** So long that a link that was under way has ended. */
  const passMinutes = ({ identity_id }: AuthSession) =>
    world.core.database.query(
      "UPDATE identities SET unlinked_at = unlinked_at - interval '10 minutes' WHERE id = $1",
      [identity_id],
    );

  test("a commit whose answer is lost has linked: the credential stays, and the daemon connects", async () => {
    const session = await open();
    const core = interrupted((real, nth) => async (work) => {
      const result = await real(work);
      if (nth === 1) throw lost();
      return result;
    });
    await submit(core, session);
    await until(async () => (await bridgeStateOf(session)) === "connected", { what: "it is connected" });
    expect(await stateOf(session)).toBe("linked");
    expect(await hasCredential(session)).toBe(true);
  });

  test("a process that ends between vault and commit leaves no credential", async () => {
    const session = await open();
    const dead = Promise.withResolvers<void>();
    const core = interrupted((_, nth) => () => {
      if (nth === 2) dead.resolve();
      return Promise.reject(lost());
    });
    await submit(core, session);
    await dead.promise;
    expect([await stateOf(session), await hasCredential(session)]).toEqual(["completing", true]);
    await world.core.database.query("UPDATE auth_sessions SET expires_at = now() WHERE id = $1", [
      session.id,
    ]);
    await sweepSessions(world.core);
    await passMinutes(session);
    expect(await sweepCredentials(world.core)).toBe(1);
    expect([await stateOf(session), await hasCredential(session)]).toEqual(["expired", false]);
    expect(await sweepCredentials(world.core)).toBe(0);
  });

  test("an unlinking whose vault is sealed hangs up all the same, and leaves no credential", async () => {
    const session = await open();
    await submit(world.core, session);
    await until(async () => (await bridgeStateOf(session)) === "connected", { what: "it is connected" });
    const asked: string[] = [];
    const drop = () => Promise.reject(new FabricError("vault.sealed", "sealed"));
    const request: Core["bus"]["request"] = (message, options) => {
      asked.push(message.route.action);
      return world.core.bus.request(message, options);
    };
    const core = {
      ...world.core,
      vault: but(world.core.vault, "drop", drop),
      bus: but(world.core.bus, "request", request),
    };
    await unlink(core, WORKSPACE, session.identity_id, "test");
    expect(asked).toEqual(["disconnect"]);
    expect(await hasCredential(session)).toBe(true);
    expect(await sweepCredentials(world.core)).toBe(0);
    await passMinutes(session);
    expect(await sweepCredentials(world.core)).toBe(1);
    expect(await hasCredential(session)).toBe(false);
  });

  test("a link that an unlinking overtakes tells the daemon to look again, and leaves no credential", async () => {
    const session = await open();
    const told: unknown[] = [];
    const publish: Core["bus"]["publish"] = async (message: Outgoing) => {
      if (message.route.action === "changed") told.push(JSON.parse(Buffer.from(message.body).toString()));
      await world.core.bus.publish(message);
    };
    const overtaken = interrupted((real, nth) => async (work) => {
      if (nth === 1) await unlink(world.core, WORKSPACE, session.identity_id, "test");
      return real(work);
    });
    await submit({ ...overtaken, bus: but(world.core.bus, "publish", publish) }, session);
    await until(() => told.length > 0, { what: "the daemon is told" });
    expect(told).toMatchObject([{ payload: { what: "assignments", service: "echo", instance: "primary" } }]);
    expect([await stateOf(session), await hasCredential(session)]).toEqual(["cancelled", false]);
    expect((await identityById(world.core.database.pool, session.identity_id))?.state).toBe("unlinked");
  });
});
