/**
 * Surroundings that fail for a while and come back: nothing that was confirmed is lost, nothing is put into
 * quarantine, and everything goes on by itself. Each case has a database server, a core and a daemon of its own, and
 * prints how long it took. `OUTAGE_SECONDS` sets how long an outage lasts (default 6, `npm run outage` says 60).
 */
import { setTimeout as pause } from "node:timers/promises";
import { Client as Postgres } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
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

interface Place extends AsyncDisposable {
  readonly postgres: PostgresServer;
  readonly installation: Installation;
}

/** What one case breaks and no other uses. The broker may be shared: each place has a vhost of its own. */
async function open(rabbitmq: RabbitmqServer, name: string, disk?: SmallDisk): Promise<Place> {
  await using stack = new AsyncDisposableStack();
  const settings = { wal_level: "replica", max_wal_senders: "4" };
  const postgres = stack.use(await startPostgres({ settings }));
  if (disk !== undefined) await administer(postgres, `CREATE TABLESPACE small LOCATION '${disk.directory}'`);
  const databaseUrl = await postgres.createDatabase("outage", disk && "small");
  const installation = stack.use(await startInstallation(await rabbitmq.vhost(name), databaseUrl));
  await rabbitmq.settle();
  const opened = stack.move();
  return { postgres, installation, [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose]() };
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

function signalAll({ pid }: PostgresServer, name: NodeJS.Signals): void {
  for (const one of treeOf(pid)) process.kill(one, name);
}

/** Breaks it under load, waits, mends it, and proves that nothing was lost. */
async function outlive(
  { client }: Installation,
  what: string,
  breakIt: () => unknown,
  mendIt: () => unknown,
): Promise<void> {
  await using load = await Load.start(client);
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
  const ready = async () => (await fetch(`${client.url}/health/ready`)).ok;
  await until(ready, { what: "health to be good again" });
}

describeWithServers(["rabbitmq", "postgres"], "outages", () => {
  let broker: RabbitmqServer;

  beforeAll(async () => {
    broker = await startRabbitmq();
  });
  afterAll(() => broker?.[Symbol.asyncDispose]());

  // Side by side where the outages are short: mostly they wait, and no case depends on how long one takes. One after
  // the other where the time until everything goes on is what the run is for.
  const limit = { timeout: 10 * MINUTES, concurrent: process.env.OUTAGE_SECONDS === undefined };

  test("the database is read-only", limit, async () => {
    await using place = await open(broker, "read-only");
    const { installation, postgres } = place;
    await outlive(
      installation,
      "database read-only",
      () =>
        administer(
          postgres,
          "ALTER SYSTEM SET default_transaction_read_only = on",
          "SELECT pg_reload_conf()",
        ),
      () =>
        administer(postgres, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"),
    );
  });

  test("the database is paused", limit, async () => {
    await using place = await open(broker, "paused");
    const { installation, postgres } = place;
    await outlive(
      installation,
      "database paused",
      () => signalAll(postgres, "SIGSTOP"),
      () => signalAll(postgres, "SIGCONT"),
    );
  });

  test("connections to the database are dropped without a word", limit, async () => {
    await using place = await open(broker, "database-dropped");
    const { installation } = place;
    await outlive(
      installation,
      "database connections dropped",
      () => installation.toDatabase.drop(),
      () => undefined,
    );
  });

  test("the network to the database carries nothing", limit, async () => {
    await using place = await open(broker, "database-unreachable");
    const { installation } = place;
    await outlive(
      installation,
      "database unreachable",
      () => installation.toDatabase.stall(),
      () => {
        installation.toDatabase.drop();
        installation.toDatabase.pass();
      },
    );
  });

  test.runIf(isRoot)("the database's disk is full", limit, async () => {
    await using disk = await mountSmallDisk("postgres", 96);
    await using place = await open(broker, "disk", disk);
    await outlive(
      place.installation,
      "database disk full",
      () => disk.fill(),
      () => disk.free(),
    );
  });

  test("the database fails over to a standby", limit, async () => {
    await using place = await open(broker, "failover");
    const { installation, postgres } = place;
    await using standby = await startStandby(postgres);
    await administer(postgres, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()");
    await outlive(
      installation,
      "failover to a standby",
      () => postgres.kill(),
      async () => {
        await standby.promote();
        installation.toDatabase.redirect(standby.port);
      },
    );
  });

  test("the broker blocks publishers by its memory alarm", limit, async () => {
    await using rabbitmq = await startRabbitmq();
    await using place = await open(rabbitmq, "main");
    await outlive(
      place.installation,
      "broker blocked by its alarm",
      () => rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1MB"),
      () => rabbitmq.ctl("set_vm_memory_high_watermark", "0.4"),
    );
  });

  test("the broker is restarted", limit, async () => {
    await using rabbitmq = await startRabbitmq();
    await using place = await open(rabbitmq, "main");
    await outlive(
      place.installation,
      "broker stopped",
      () => rabbitmq.stop(),
      () => rabbitmq.start(),
    );
  });

  test("the core is cut off from the broker", limit, async () => {
    await using place = await open(broker, "core-cut-off");
    const { installation } = place;
    await outlive(
      installation,
      "core without broker",
      () => installation.coreToBroker.stall(),
      () => {
        installation.coreToBroker.drop();
        installation.coreToBroker.pass();
      },
    );
  });

  test("the daemon is cut off from the broker", limit, async () => {
    await using place = await open(broker, "daemon-cut-off");
    const { installation } = place;
    await outlive(
      installation,
      "daemon without broker",
      () => installation.daemonToBroker.stall(),
      () => {
        installation.daemonToBroker.drop();
        installation.daemonToBroker.pass();
      },
    );
  });

  test("connections to the broker are dropped without a word", limit, async () => {
    await using place = await open(broker, "broker-dropped");
    const { installation } = place;
    await outlive(
      installation,
      "broker connections dropped",
      () => {
        installation.coreToBroker.drop();
        installation.daemonToBroker.drop();
      },
      () => undefined,
    );
  });

  test("no outage is needed for the round trip", limit, async () => {
    await using place = await open(broker, "none");
    await using load = await Load.start(place.installation.client);
    expect(await load.roundTrip("only")).toBeGreaterThan(0);
    expect(await load.check()).toBe(0);
  });
});
