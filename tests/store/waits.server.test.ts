/** Every wait on the database has an end: silent connections, locks, stopped transactions, closing. */
import { defineJob, openJobs } from "@linkspan/jobs";
import {
  advancePositions,
  appendEvents,
  BoundedClient,
  Database,
  type Limits,
  migrate,
  oldestTransaction,
  SHORT_WORK,
} from "@linkspan/store";
import { PgSecretStore } from "@linkspan/vault";
import { type Wake, Wakes } from "@linkspan/worker";
import pg from "pg";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { describeWithServers } from "../servers/available.ts";
import { type FaultProxy, startFaultProxy } from "../servers/fault-proxy.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { newEvent } from "./events.ts";

const QUICK: Limits = {
  connectMs: 3_000,
  statementMs: 700,
  lockMs: 300,
  idleInTransactionMs: 400,
  answerMs: 1_000,
};
const quiet = pino({ level: "silent" });

describeWithServers(["postgres"], "waits on the database", () => {
  let server: PostgresServer;
  let direct: Database;
  let url: string;

  beforeAll(async () => {
    server = await startPostgres();
    url = await server.createDatabase("waits");
    direct = new Database(url);
    await migrate(direct);
  });
  afterAll(async () => {
    await direct?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  async function behindProxy(): Promise<{ proxy: FaultProxy; url: string } & AsyncDisposable> {
    const proxy = await startFaultProxy({ port: server.port });
    const through = new URL(url);
    through.port = String(proxy.port);
    return { proxy, url: through.href, [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose]() };
  }

  const warm = (database: Database, connections: number) =>
    Promise.all(Array.from({ length: connections }, () => database.query("SELECT pg_sleep(0.2)")));

  test("a connection that went silent is given up, and the idle ones of its age with it", async () => {
    await using way = await behindProxy();
    await using database = new Database(way.url, { maxConnections: 4, limits: QUICK });
    await warm(database, 4);
    way.proxy.drop();
    const startedAt = performance.now();
    await expect(database.query("SELECT 1")).rejects.toMatchObject({ code: "store.unavailable" });
    // Three more were as dead; none of them costs its own wait.
    await expect
      .poll(() =>
        database.query("SELECT 1").then(
          () => "up",
          () => "down",
        ),
      )
      .toBe("up");
    expect(performance.now() - startedAt).toBeLessThan(2 * QUICK.answerMs + QUICK.connectMs);
  });

  test("a transaction on a connection that goes silent ends, and gives its place back", async () => {
    await using way = await behindProxy();
    await using database = new Database(way.url, { maxConnections: 1, limits: QUICK });
    const silent = database.transaction(async (client) => {
      await client.query("SELECT 1");
      way.proxy.drop();
      await client.query("SELECT 1");
    });
    await expect(silent).rejects.toMatchObject({ code: "store.unavailable" });
    expect((await database.query("SELECT 1")).rows).toHaveLength(1);
  });

  test("the vault on a silent connection says unavailable, and goes on", async () => {
    await using way = await behindProxy();
    await using database = new Database(way.url, { maxConnections: 1, limits: QUICK });
    const store = new PgSecretStore(database.pool);
    await store.migrate();
    way.proxy.drop();
    await expect(store.transaction(() => Promise.resolve())).rejects.toMatchObject({
      code: "vault.unavailable",
    });
    await store.transaction(() => Promise.resolve());
  });

  test("a statement that takes too long and a lock that is held end, and are waited out", async () => {
    await using database = new Database(url, { limits: QUICK });
    await expect(database.query("SELECT pg_sleep(60)")).rejects.toMatchObject({
      code: "store.unavailable",
      cause: { code: "57014" },
    });
    await database.transaction(async (holder) => {
      await holder.query("SELECT * FROM sequencer FOR UPDATE");
      await expect(database.query("UPDATE sequencer SET position = position")).rejects.toMatchObject({
        code: "store.unavailable",
        cause: { code: "55P03" },
      });
    });
  });

  test("a session that stops inside a transaction is ended, and numbering does not wait for it", async () => {
    await using database = new Database(url, { limits: QUICK });
    const stopped = await database.pool.connect();
    await stopped.query("BEGIN");
    await appendEvents(stopped, [newEvent("of the stopped one")]);
    await appendEvents(direct.pool, [newEvent("of another")]);
    expect(await advancePositions(direct)).toMatchObject({ count: 1 });
    await until(async () => (await oldestTransaction(direct.pool)) === undefined, {
      what: "the server to end the silent transaction",
    });
    await expect(stopped.query("COMMIT")).rejects.toBeInstanceOf(Error);
    stopped.release(true);
    expect((await appendEvents(direct.pool, [newEvent("of the stopped one")])).size).toBe(1);
  });

  test("a transaction of somebody else that writes for hours does not hold up numbering, and is named", async () => {
    const other = new pg.Client({ connectionString: server.url, application_name: "import" });
    await other.connect();
    await other.query("BEGIN; CREATE TABLE big (n int)");
    await appendEvents(direct.pool, [newEvent("while the import runs")]);
    expect(await advancePositions(direct)).toMatchObject({ count: expect.any(Number) as number });
    expect(await oldestTransaction(direct.pool)).toMatchObject({
      application: "import",
      database: "postgres",
      state: "idle in transaction",
    });
    await other.query("ROLLBACK");
    await other.end();
  });

  test("a connection that listens and went silent is replaced within seconds", async () => {
    await using way = await behindProxy();
    await using database = new Database(way.url, { limits: QUICK });
    await using wakes = new Wakes();
    const heard = listening(wakes, "outbox");
    wakes.listen(database, quiet);
    await until(() => heard.count > 0, { what: "the first look" });
    way.proxy.drop();
    await until(
      async () => {
        const before = heard.count;
        await direct.query("SELECT pg_notify('linkspan', 'outbox')");
        return heard.count > before;
      },
      { what: "a notification on a new connection", timeoutMs: 20_000, everyMs: 100 },
    );
  });

  test("what NOTIFY announces is read again by time, also when nobody can listen", async () => {
    await using way = await behindProxy();
    way.proxy.refuse();
    await using database = new Database(way.url, { limits: QUICK });
    await using wakes = new Wakes();
    const heard = (["keys", "flags"] as const).map((wake) => listening(wakes, wake));
    wakes.listen(database, quiet);
    await until(() => heard.every(({ count }) => count >= 2), {
      what: "two looks by time",
      timeoutMs: 10_000,
    });
  });

  function listening(wakes: Wakes, wake: Wake): { count: number } {
    const heard = { count: 0 };
    wakes.on(wake, () => (heard.count += 1), new AbortController().signal);
    return heard;
  }

  test.each([0, 2])(
    "closing ends although the database is silent, with %i transactions open",
    async (open) => {
      await using way = await behindProxy();
      const database = new Database(way.url, { maxConnections: 3, limits: SHORT_WORK });
      await warm(database, 3);
      const held = await Promise.all(Array.from({ length: open }, () => database.pool.connect()));
      way.proxy.stall();
      const waiting = held.map((client) =>
        client.query("SELECT 1").then(
          () => "answered",
          () => "ended",
        ),
      );
      const startedAt = performance.now();
      await database[Symbol.asyncDispose]();
      expect(performance.now() - startedAt).toBeLessThan(14_000);
      for (const outcome of await Promise.all(waiting)) expect(outcome).toBe("ended");
      // Sockets that stay open would keep the process.
      way.proxy.pass();
      await until(() => way.proxy.connections === 0, { what: "every socket to be closed" });
    },
  );

  test("jobs on connections that went silent run again within seconds, and closing ends", async () => {
    await using way = await behindProxy();
    const jobs = await openJobs({ url: way.url, log: quiet, postgresClient: BoundedClient });
    const ran: number[] = [];
    const job = defineJob("waits.count", z.strictObject({ n: z.number() }));
    await jobs.work(job, ({ n }) => Promise.resolve(void ran.push(n)));
    await jobs.enqueue(job, { n: 1 });
    await until(() => ran.includes(1), { what: "the first job" });
    way.proxy.drop();
    await until(
      () =>
        jobs.enqueue(job, { n: 2 }).then(
          () => true,
          () => false,
        ),
      { what: "a job to be taken", timeoutMs: 40_000 },
    );
    await until(() => ran.includes(2), { what: "the job to run", timeoutMs: 40_000 });
    way.proxy.stall();
    const startedAt = performance.now();
    await jobs[Symbol.asyncDispose]();
    expect(performance.now() - startedAt).toBeLessThan(60_000);
  });
});
