/** Durable rows of a connector, from the host to the core and back. */
import { FabricError } from "@linkspan/envelopes";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { IdentityHost } from "../connector.ts";
import { StubConnector } from "../testing/stub-connector.ts";
import { eventually, World } from "../testing/world.ts";

let world: World;

beforeEach(async () => {
  world = await World.make();
  world.core.link("ada");
});
afterEach(() => world[Symbol.asyncDispose]());

const one = (name: string, value: string) => new Map([[name, Buffer.from(value)]]);
const textsOf = (rows: ReadonlyMap<string, Uint8Array>) =>
  Object.fromEntries([...rows].map(([name, value]) => [name, Buffer.from(value).toString()]));

async function hostOf(connector: StubConnector): Promise<IdentityHost> {
  await eventually(() => connector.hosts.has("ada"));
  return connector.hosts.get("ada") as IdentityHost;
}

test("what a commit was told kept is what the next holder loads, page by page", async () => {
  const connector = new StubConnector();
  const process = await world.up(connector);
  const { rows } = await hostOf(connector);
  expect(textsOf(await rows.load())).toEqual({});
  await Promise.all([rows.commit(one("a", "1")), rows.commit(one("b", "2"))]);
  await rows.commit(
    new Map([
      ["a", undefined],
      ["c", Buffer.from("3")],
    ]),
  );
  expect(world.core.rows.kept.get("ada")).toMatchObject({ version: 2 });
  process.kill();
  world.core.rows.pageRows = 1;
  const second = new StubConnector();
  await world.start(second);
  // The lease of the one that was killed runs out first.
  await eventually(() => second.hosts.has("ada"), 25_000);
  const next = await hostOf(second);
  expect(textsOf(await next.rows.load())).toEqual({ b: "2", c: "3" });
}, 60_000);

test("an answer that is lost is asked for again, and the rows are kept once", async () => {
  const connector = new StubConnector();
  await world.up(connector);
  const { rows } = await hostOf(connector);
  await rows.load();
  world.core.rows.lostAnswers = 1;
  await rows.commit(one("a", "1"));
  expect(world.core.rows.commits).toEqual([["a"]]);
  expect(world.core.rows.kept.get("ada")).toMatchObject({ version: 1 });
}, 30_000);

test("a commit waits while the core cannot keep it, and is no success before it can", async () => {
  const connector = new StubConnector();
  await world.up(connector);
  const { rows } = await hostOf(connector);
  await rows.load();
  world.core.rows.refusal = new FabricError("vault.unavailable", "the database is away");
  let isKept = false;
  const committed = rows.commit(one("a", "1")).then(() => {
    isKept = true;
  });
  await eventually(() => world.core.asked.filter(({ action }) => action === "commit_rows").length >= 3);
  expect(isKept).toBe(false);
  world.core.rows.refusal = undefined;
  await committed;
  expect(world.core.rows.kept.get("ada")).toMatchObject({ version: 1 });
});

test("a refusal ends the session of rows until they are loaded again", async () => {
  const connector = new StubConnector();
  await world.up(connector);
  const { rows } = await hostOf(connector);
  await rows.load();
  world.core.rows.refusal = new FabricError("lease.lost", "another holds it");
  await expect(rows.commit(one("a", "1"))).rejects.toMatchObject({ code: "lease.lost" });
  world.core.rows.refusal = undefined;
  await expect(rows.commit(one("a", "1"))).rejects.toMatchObject({ code: "lease.lost" });
  await rows.load();
  await rows.commit(one("a", "1"));
});

test("the load of the next connection waits for the commit of the one before", async () => {
  const connector = new StubConnector();
  await world.up(connector);
  const first = await hostOf(connector);
  await first.rows.load();
  const gate = Promise.withResolvers<void>();
  world.core.rows.gate = gate.promise;
  void first.rows.commit(one("a", "1"));
  await eventually(() => world.core.asked.some(({ action }) => action === "commit_rows"));
  first.guard(() => {
    throw new Error("the connection ends");
  })();
  await eventually(() => connector.opened.length === 2);
  await eventually(() => connector.hosts.get("ada") !== first);
  const loading = (await hostOf(connector)).rows.load();
  gate.resolve();
  expect(textsOf(await loading)).toEqual({ a: "1" });
});

test("rows that are older than what was confirmed to this process are refused", async () => {
  const connector = new StubConnector();
  await world.up(connector);
  const { rows } = await hostOf(connector);
  await rows.load();
  await rows.commit(one("a", "1"));
  const backup = world.core.rows.kept.get("ada");
  await rows.commit(one("a", "2"));
  if (backup !== undefined) world.core.rows.kept.set("ada", backup);
  await expect(rows.commit(one("a", "3"))).rejects.toMatchObject({ code: "vault.conflict" });
  await expect(rows.load()).rejects.toMatchObject({ code: "vault.conflict" });
});
