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
const UPKEEP = 1;
const PROCESSES = 50;
const IDLE = defineJob("connections.idle", z.strictObject({}));

describeWithServers(["postgres"], "connections", () => {
  test.each([DEFAULT_POOL, 2])(
    "a busy process with a pool of %i holds it and what is documented",
    async (size) => {
      await using server = await startPostgres();
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
      const database = stack.use(new Database(url, { maxConnections: size }));
      const jobs = stack.use(await openJobs({ url, log, postgresClient: BoundedClient }));
      stack.use(await jobs.work(IDLE, () => Promise.resolve()));
      const wakes = stack.use(new Wakes());
      wakes.listen(database, log);
      let running = true;
      const busy = Promise.all(
        Array.from({ length: 20 }, () => database.query("SELECT pg_sleep(0.05)")),
      ).finally(() => (running = false));
      let most = 0;
      while (running) {
        await jobs.enqueue(IDLE, {});
        most = Math.max(most, await held());
      }
      await busy;
      expect(most).toBeGreaterThanOrEqual(size);
      expect(most).toBeLessThanOrEqual(size + BESIDE_THE_POOL - UPKEEP);
      expect(PROCESSES * (2 + BESIDE_THE_POOL)).toBeLessThanOrEqual(400);
    },
  );
});
