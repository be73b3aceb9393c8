/**
 * Surroundings that fail for a while and come back: nothing that was confirmed is lost, nothing is put into
 * quarantine, and everything goes on by itself. Each case prints how long it took. `OUTAGE_SECONDS` sets how long
 * an outage lasts (default 6, `npm run outage` says 60).
 */
import { setTimeout as pause } from "node:timers/promises";
import { Client as Postgres } from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres, startStandby } from "../servers/postgres.ts";
import { treeOf } from "../servers/process-tree.ts";
import { type RabbitmqServer, startRabbitmq } from "../servers/rabbitmq.ts";
import { until } from "../servers/until.ts";
import { type Installation, startInstallation } from "./installation.ts";
import { Load } from "./load.ts";
import { mountSmallDisk, type SmallDisk } from "./small-disk.ts";

const OUTAGE_MS = 1_000 * Number(process.env.OUTAGE_SECONDS ?? 6);
const MINUTES = 60_000;
const isRoot = process.getuid?.() === 0;

describeWithServers(["rabbitmq", "postgres"], "outages", () => {
  let stack: AsyncDisposableStack;
  let postgres: PostgresServer;
  let rabbitmq: RabbitmqServer;
  let installation: Installation;
  let disk: SmallDisk | undefined;

  beforeEach(async ({ task }) => {
    stack = new AsyncDisposableStack();
    disk = task.name.includes("disk") ? stack.use(await mountSmallDisk("postgres", 96)) : undefined;
    postgres = stack.use(await startPostgres({ settings: { wal_level: "replica", max_wal_senders: "4" } }));
    rabbitmq = stack.use(await startRabbitmq());
    if (disk !== undefined) await administer(`CREATE TABLESPACE small LOCATION '${disk.directory}'`);
    const databaseUrl = await postgres.createDatabase("outage", disk && "small");
    installation = stack.use(await startInstallation(await rabbitmq.vhost("main"), databaseUrl));
    await rabbitmq.settle();
  });
  afterEach(() => stack.disposeAsync());

  async function administer(...statements: string[]): Promise<void> {
    const client = new Postgres({
      connectionString: postgres.url,
      options: "-c default_transaction_read_only=off",
    });
    await client.connect();
    try {
      for (const statement of statements) await client.query(statement);
    } finally {
      await client.end();
    }
  }

  const signalDatabase = (name: NodeJS.Signals) => {
    for (const pid of treeOf(postgres.pid)) process.kill(pid, name);
  };

  /** Breaks it under load, waits, mends it, and proves that nothing was lost. */
  async function outlive(what: string, breakIt: () => unknown, mendIt: () => unknown): Promise<void> {
    await using load = await Load.start(installation.client);
    await load.roundTrip("before");
    await breakIt();
    await pause(OUTAGE_MS);
    await mendIt();
    const mendedAt = performance.now();
    await load.roundTrip("after");
    const backMs = Math.round(performance.now() - mendedAt);
    const uncertain = await load.check();
    console.info(
      `outage: ${what} for ${OUTAGE_MS / 1_000} s; back ${backMs} ms later; ` +
        `${load.submitted} texts in order, ${uncertain} in doubt, the others once`,
    );
    const ready = async () => (await fetch(`${installation.client.url}/health/ready`)).ok;
    await until(ready, { what: "health to be good again" });
  }

  const limit = { timeout: 10 * MINUTES };

  test("the database is read-only", limit, () =>
    outlive(
      "database read-only",
      () => administer("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"),
      () => administer("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"),
    ),
  );

  test("the database is paused", limit, () =>
    outlive(
      "database paused",
      () => signalDatabase("SIGSTOP"),
      () => signalDatabase("SIGCONT"),
    ),
  );

  test("connections to the database are dropped without a word", limit, () =>
    outlive(
      "database connections dropped",
      () => installation.toDatabase.drop(),
      () => undefined,
    ),
  );

  test("the network to the database carries nothing", limit, () =>
    outlive(
      "database unreachable",
      () => installation.toDatabase.stall(),
      () => {
        installation.toDatabase.drop();
        installation.toDatabase.pass();
      },
    ),
  );

  test.runIf(isRoot)("the database's disk is full", limit, () =>
    outlive(
      "database disk full",
      () => disk?.fill(),
      () => disk?.free(),
    ),
  );

  test("the database fails over to a standby", limit, async () => {
    const standby = stack.use(await startStandby(postgres));
    await administer("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()");
    await outlive(
      "failover to a standby",
      () => postgres.kill(),
      async () => {
        await standby.promote();
        installation.toDatabase.redirect(standby.port);
      },
    );
  });

  test("the broker blocks publishers by its memory alarm", limit, () =>
    outlive(
      "broker blocked by its alarm",
      () => rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1MB"),
      () => rabbitmq.ctl("set_vm_memory_high_watermark", "0.4"),
    ),
  );

  test("the broker is restarted", limit, () =>
    outlive(
      "broker stopped",
      () => rabbitmq.stop(),
      () => rabbitmq.start(),
    ),
  );

  test("the core is cut off from the broker", limit, () =>
    outlive(
      "core without broker",
      () => installation.coreToBroker.stall(),
      () => {
        installation.coreToBroker.drop();
        installation.coreToBroker.pass();
      },
    ),
  );

  test("the daemon is cut off from the broker", limit, () =>
    outlive(
      "daemon without broker",
      () => installation.daemonToBroker.stall(),
      () => {
        installation.daemonToBroker.drop();
        installation.daemonToBroker.pass();
      },
    ),
  );

  test("connections to the broker are dropped without a word", limit, () =>
    outlive(
      "broker connections dropped",
      () => {
        installation.coreToBroker.drop();
        installation.daemonToBroker.drop();
      },
      () => undefined,
    ),
  );

  test("no outage is needed for the round trip", limit, async () => {
    await using load = await Load.start(installation.client);
    expect(await load.roundTrip("only")).toBeGreaterThan(0);
    expect(await load.check()).toBe(0);
  });
});
