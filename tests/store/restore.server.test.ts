/**
 * The drill: back up a database that works, restore it into a fresh cluster, and go on. Also what the whole core
 * does while its database is read-only, or silent.
 */
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { channelRef } from "@linkspan/envelopes";
import { type Identity, intentById, readEvents, stepsOf } from "@linkspan/store";
import { recordIntent } from "@linkspan/worker";
import { expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { startFaultProxy } from "../servers/fault-proxy.ts";
import { startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { openWorld, type World, WORKSPACE } from "../worker/world.ts";

const room = channelRef(WORKSPACE, "echo", ["room"]);

async function say(world: World, identity: Identity, text: string): Promise<string> {
  const { intent } = await recordIntent(world.core, {
    workspaceId: WORKSPACE,
    userId: identity.user_id,
    identityId: identity.id,
    action: "outbound_message",
    conversation: room,
    payload: { text },
    idempotencyKey: randomUUID(),
    actor: "test",
  });
  return intent.id;
}

async function heard(world: World) {
  const events = await readEvents(world.core.database.pool, { workspaceId: WORKSPACE, after: 0, limit: 100 });
  return events
    .filter(({ conversation }) => conversation === room)
    .map(({ position, messageId, body }) => {
      const { payload } = JSON.parse(body.toString()) as { payload: { text?: string } };
      return { position, messageId, text: payload.text };
    });
}

const untilHeard = (world: World, text: string, timeoutMs = 60_000) =>
  until(async () => (await heard(world)).some((event) => event.text === text), { what: text, timeoutMs });

describeWithServers(["postgres"], "restore", () => {
  test("a restored backup goes on: events, intents and credentials are there, nothing is numbered anew", async () => {
    const data = await mkdtemp(join(tmpdir(), "linkspan-drill-"));
    await using disposal = new AsyncDisposableStack();
    disposal.defer(() => rm(data, { recursive: true, force: true }));
    await using first = await startPostgres();
    const url = await first.createDatabase("linkspan");
    const before = await openWorld({ databaseUrl: url, data });
    // The cluster is older than the one that the backup goes into.
    await before.core.database.query(
      "DO $$ BEGIN FOR i IN 1..20000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$",
    );
    const counts: (number | undefined)[] = [];
    before.platform.on("performed", (_account, { count }) => counts.push(count));
    const identity = await before.link("user-1", { nick: "me", password: "correct horse", count: true });
    const said = await say(before, identity, "one");
    expect(await before.settled(said)).toBe("sent");
    await untilHeard(before, "one");
    const events = await heard(before);
    const steps = await stepsOf(before.core.database.pool, said);
    const dump = await first.dump(url);
    await before[Symbol.asyncDispose]();

    await using second = await startPostgres();
    const restored = await second.createDatabase("linkspan");
    await second.load(restored, dump);
    await using after = await openWorld({ databaseUrl: restored, data, platform: before.platform });
    expect(await heard(after)).toEqual(events);
    expect(await stepsOf(after.core.database.pool, said)).toEqual(steps);
    expect((await intentById(after.core.database.pool, said))?.state).toBe("sent");
    expect(await after.core.vault.health()).toEqual(await before.core.vault.health());
    // To speak, the daemon must get the account's credential from the restored vault.
    const again = await say(after, identity, "two");
    expect(await after.settled(again)).toBe("sent");
    await untilHeard(after, "two");
    // The account's durable rows went on from where the backup has them.
    expect(counts).toEqual([1, 2]);
    const continued = await heard(after);
    expect(continued.slice(0, events.length)).toEqual(events);
    expect(continued.at(-1)?.text).toBe("two");
    expect(after.lines.some((line) => line.includes("sequencer.resumed"))).toBe(true);
  });

  test("while the database is read-only nothing is given up, and everything goes on by itself", async () => {
    await using server = await startPostgres();
    await using world = await openWorld({ databaseUrl: await server.createDatabase("linkspan") });
    const { core, platform } = world;
    const identity = await world.link();
    await say(world, identity, "before");
    await untilHeard(world, "before");
    await core.database.query("ALTER SYSTEM SET default_transaction_read_only = on");
    await core.database.query("SELECT pg_reload_conf()");
    await expect
      .poll(() =>
        core.database.query("UPDATE namespace SET name = name").then(
          () => "written",
          () => "refused",
        ),
      )
      .toBe("refused");
    platform.happen(identity.id, { kind: "message", channel: "room", text: "during" });
    await until(() => world.lines.some((line) => line.includes("25006")), { what: "the trouble to be met" });
    await server.run("ALTER SYSTEM RESET default_transaction_read_only");
    await server.run("SELECT pg_reload_conf()");
    await untilHeard(world, "during");
    const { rows } = await core.database.query("SELECT code FROM quarantine");
    expect(rows).toEqual([]);
  });

  test("connections that all go silent at once cost seconds, and stopping ends although the database is silent", async () => {
    await using server = await startPostgres();
    await using proxy = await startFaultProxy({ port: server.port });
    const url = new URL(await server.createDatabase("linkspan"));
    url.port = String(proxy.port);
    const world = await openWorld({ databaseUrl: url.href });
    const identity = await world.link();
    await say(world, identity, "before");
    await untilHeard(world, "before");
    proxy.drop();
    world.platform.happen(identity.id, { kind: "message", channel: "room", text: "during" });
    const startedAt = performance.now();
    await until(
      () =>
        heard(world).then(
          (events) => events.some(({ text }) => text === "during"),
          () => false,
        ),
      { what: "the event to be taken in", timeoutMs: 60_000 },
    );
    process.stdout.write(
      `silent connections: taken in after ${Math.round(performance.now() - startedAt)} ms\n`,
    );
    proxy.stall();
    const stopping = performance.now();
    await world[Symbol.asyncDispose]();
    process.stdout.write(`silent database: stopped after ${Math.round(performance.now() - stopping)} ms\n`);
    expect(performance.now() - stopping).toBeLessThan(60_000);
    proxy.pass();
  });
});
