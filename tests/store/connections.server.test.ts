/** Fifty processes fit one database: what one opens at most is known, small, and given back when it is idle. */
import { defineJob, openJobs } from "@linkspan/jobs";
import { BoundedClient, Database, DEFAULT_POOL, migrate } from "@linkspan/store";
import { Wakes } from "@linkspan/worker";
import { pino } from "pino";
import { expect, test } from "vitest";
import { z } from "zod";
import { describeWithServers } from "../servers/available.ts";
import { startPostgres } from "../servers/postgres.ts";

/** docs/operations.md, "Connections": pool, LISTEN, three of the jobs, and one while tables are kept. */
const BESIDE_THE_POOL = 5;
const PROCESSES = 50;
const IDLE = defineJob("connections.idle", z.strictObject({}));

describeWithServers(["postgres"], "connections", () => {
  test("a busy process holds its pool and five more; fifty with the smallest pool fit 400 connections", async () => {
    await using server = await startPostgres({ settings: { max_connections: "400" } });
    const url = await server.createDatabase("many");
    await using counter = new Database(url, { maxConnections: 1, applicationName: "counter" });
    await migrate(counter);
    const held = async () => {
      const { rows } = await counter.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM pg_stat_activity
          WHERE datname = current_database() AND application_name <> 'counter' AND backend_type = 'client backend'`,
      );
      return rows[0]?.n ?? 0;
    };
    await using stack = new AsyncDisposableStack();
    const log = pino({ level: "silent" });
    const begin = async (maxConnections?: number) => {
      const database = stack.use(new Database(url, maxConnections === undefined ? {} : { maxConnections }));
      const jobs = stack.use(await openJobs({ url, log, postgresClient: BoundedClient }));
      stack.use(await jobs.work(IDLE, () => Promise.resolve()));
      const wakes = stack.use(new Wakes());
      wakes.listen(database, log);
      return database;
    };
    const load = (database: Database) =>
      Promise.all(Array.from({ length: 40 }, () => database.query("SELECT pg_sleep(0.02)")));
    const one = await begin();
    let most = 0;
    const busy = load(one);
    for (let done = false; !done; ) {
      most = Math.max(most, await held());
      done = await Promise.race([busy.then(() => true), Promise.resolve(false)]);
    }
    expect(most).toBeGreaterThanOrEqual(DEFAULT_POOL);
    expect(most).toBeLessThanOrEqual(DEFAULT_POOL + BESIDE_THE_POOL - 1);

    const others: Database[] = [];
    for (let i = 1; i < PROCESSES; i++) others.push(await begin(2));
    await Promise.all(others.map(load));
    expect(await held()).toBeLessThanOrEqual(
      DEFAULT_POOL + (PROCESSES - 1) * 2 + PROCESSES * BESIDE_THE_POOL,
    );
  });
});
