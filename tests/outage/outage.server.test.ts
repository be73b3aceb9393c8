/**
 * Surroundings that fail for a while and come back: nothing that was confirmed is lost, nothing is put into
 * quarantine, and everything goes on by itself. Each case has servers of its own and prints how long it took.
 * `OUTAGE_SECONDS` sets how long an outage lasts (default 6, `npm run outage` says 60).
 */
import { setTimeout as pause } from "node:timers/promises";
import { Client as Postgres } from "pg";
import { expect, test } from "vitest";
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

/** The servers and the processes of one case, which no other case shares. */
interface Place extends AsyncDisposable {
  readonly postgres: PostgresServer;
  readonly rabbitmq: RabbitmqServer;
  readonly installation: Installation;
}

async function open(disk?: SmallDisk): Promise<Place> {
  await using stack = new AsyncDisposableStack();
  const settings = { wal_level: "replica", max_wal_senders: "4" };
  const [postgres, rabbitmq] = await Promise.all([startPostgres({ settings }), startRabbitmq()]);
  stack.use(postgres);
  stack.use(rabbitmq);
  if (disk !== undefined) await administer(postgres, `CREATE TABLESPACE small LOCATION '${disk.directory}'`);
  const databaseUrl = await postgres.createDatabase("outage", disk && "small");
  const installation = stack.use(await startInstallation(await rabbitmq.vhost("main"), databaseUrl));
  await rabbitmq.settle();
  const opened = stack.move();
  return {
    postgres,
    rabbitmq,
    installation,
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

async function administer({ url }: PostgresServer, ...statements: string[]): Promise<void> {
  const client = new Postgres({ connectionString: url, options: "-c default_transaction_read_only=off" });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}

function signalDatabase({ postgres }: Place, name: NodeJS.Signals): void {
  for (const pid of treeOf(postgres.pid)) process.kill(pid, name);
}

/** Breaks it under load, waits, mends it, and proves that nothing was lost. */
async function outlive(
  { installation }: Place,
  what: string,
  breakIt: () => unknown,
  mendIt: () => unknown,
): Promise<void> {
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

describeWithServers(["rabbitmq", "postgres"], "outages", () => {
  // Two at once, as the project says: they mostly wait. Not where the time until everything goes on is the result.
  const limit = { timeout: 10 * MINUTES, concurrent: process.env.OUTAGE_SECONDS === undefined };

  test("the database is read-only", limit, async () => {
    await using place = await open();
    await outlive(
      place,
      "database read-only",
      () =>
        administer(
          place.postgres,
          "ALTER SYSTEM SET default_transaction_read_only = on",
          "SELECT pg_reload_conf()",
        ),
      () =>
        administer(
          place.postgres,
          "ALTER SYSTEM RESET default_transaction_read_only",
          "SELECT pg_reload_conf()",
        ),
    );
  });

  test("the database is paused", limit, async () => {
    await using place = await open();
    await outlive(
      place,
      "database paused",
      () => signalDatabase(place, "SIGSTOP"),
      () => signalDatabase(place, "SIGCONT"),
    );
  });

  test("connections to the database are dropped without a word", limit, async () => {
    await using place = await open();
    await outlive(
      place,
      "database connections dropped",
      () => place.installation.toDatabase.drop(),
      () => undefined,
    );
  });

  test("the network to the database carries nothing", limit, async () => {
    await using place = await open();
    await outlive(
      place,
      "database unreachable",
      () => place.installation.toDatabase.stall(),
      () => {
        place.installation.toDatabase.drop();
        place.installation.toDatabase.pass();
      },
    );
  });

  test.runIf(isRoot)("the database's disk is full", limit, async () => {
    await using disk = await mountSmallDisk("postgres", 96);
    await using place = await open(disk);
    await outlive(
      place,
      "database disk full",
      () => disk.fill(),
      () => disk.free(),
    );
  });

  test("the database fails over to a standby", limit, async () => {
    await using place = await open();
    await using standby = await startStandby(place.postgres);
    await administer(
      place.postgres,
      "ALTER SYSTEM SET synchronous_standby_names = '*'",
      "SELECT pg_reload_conf()",
    );
    await outlive(
      place,
      "failover to a standby",
      () => place.postgres.kill(),
      async () => {
        await standby.promote();
        place.installation.toDatabase.redirect(standby.port);
      },
    );
  });

  test("the broker blocks publishers by its memory alarm", limit, async () => {
    await using place = await open();
    await outlive(
      place,
      "broker blocked by its alarm",
      () => place.rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1MB"),
      () => place.rabbitmq.ctl("set_vm_memory_high_watermark", "0.4"),
    );
  });

  test("the broker is restarted", limit, async () => {
    await using place = await open();
    await outlive(
      place,
      "broker stopped",
      () => place.rabbitmq.stop(),
      () => place.rabbitmq.start(),
    );
  });

  test("the core is cut off from the broker", limit, async () => {
    await using place = await open();
    await outlive(
      place,
      "core without broker",
      () => place.installation.coreToBroker.stall(),
      () => {
        place.installation.coreToBroker.drop();
        place.installation.coreToBroker.pass();
      },
    );
  });

  test("the daemon is cut off from the broker", limit, async () => {
    await using place = await open();
    await outlive(
      place,
      "daemon without broker",
      () => place.installation.daemonToBroker.stall(),
      () => {
        place.installation.daemonToBroker.drop();
        place.installation.daemonToBroker.pass();
      },
    );
  });

  test("connections to the broker are dropped without a word", limit, async () => {
    await using place = await open();
    await outlive(
      place,
      "broker connections dropped",
      () => {
        place.installation.coreToBroker.drop();
        place.installation.daemonToBroker.drop();
      },
      () => undefined,
    );
  });

  test("no outage is needed for the round trip", limit, async () => {
    await using place = await open();
    await using load = await Load.start(place.installation.client);
    expect(await load.roundTrip("only")).toBeGreaterThan(0);
    expect(await load.check()).toBe(0);
  });
});
