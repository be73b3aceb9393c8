/**
 * Commits of durable rows: the kit, the embedded bus, the core with its vault, PostgreSQL.
 *
 *   node tests/bench/rows.ts [accounts…]        default 1 8 64
 *
 * Each account commits one row of 2 KiB after the other. Prints commits per second and how long one takes, and beside it
 * what the database alone needs for a row of that size on one connection.
 */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openCore, parseConfig, runBeside, runCore } from "@linkspan/compose/parts";
import type { Connector, IdentityHost } from "@linkspan/daemon-kit";
import { EchoPlatform, echoConnector } from "@linkspan/daemon-echo";
import { EmbeddedBroker } from "@linkspan/fabric";
import { Database, insertIdentity, migrate, updateIdentity } from "@linkspan/store";
import { pino } from "pino";
import { startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";

const BYTES = 2_048;
/** Rows of an account that its commits change in turn. */
const NAMES = 64;
const WARM_UP_MS = 1_000;
const MEASURE_MS = 5_000;

const sizes = process.argv.slice(2).map(Number);
const most = Math.max(...(sizes.length > 0 ? sizes : [64]));

await using stack = new AsyncDisposableStack();
const server = stack.use(await startPostgres());
const hosts = stack.use(await open(await server.createDatabase("rows")));
for (const accounts of sizes.length > 0 ? sizes : [1, 8, 64]) {
  print(`${accounts} accounts`, await measure(hosts.all.slice(0, accounts).map(committer)));
}
const plain = stack.use(new Database(await server.createDatabase("plain"), { maxConnections: 1 }));
await plain.query("CREATE TABLE rows (name text PRIMARY KEY, value bytea NOT NULL)");
print("bare rows, one connection", await measure([bare(plain)]));

type Commit = (index: number) => Promise<void>;

function committer({ rows }: IdentityHost): Commit {
  return (index) => rows.commit(new Map([[`session/${index % NAMES}`, randomBytes(BYTES)]]));
}

function bare(database: Database): Commit {
  return async (index) => {
    await database.query(
      "INSERT INTO rows VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
      [`session/${index % NAMES}`, randomBytes(BYTES)],
    );
  };
}

interface Measured {
  readonly perSecond: number;
  /** Milliseconds of each commit, sorted. */
  readonly times: readonly number[];
}

/** Each commits one after the other; all of them at the same time. */
async function measure(commits: readonly Commit[]): Promise<Measured> {
  const times: number[] = [];
  const from = performance.now() + WARM_UP_MS;
  const to = from + MEASURE_MS;
  await Promise.all(
    commits.map(async (commit) => {
      for (let index = 0; performance.now() < to; index++) {
        const startedAt = performance.now();
        await commit(index);
        if (startedAt >= from) times.push(performance.now() - startedAt);
      }
    }),
  );
  return { perSecond: (times.length / MEASURE_MS) * 1_000, times: times.toSorted((a, b) => a - b) };
}

function print(what: string, { perSecond, times }: Measured): void {
  const at = (share: number) => (times[Math.floor(times.length * share)] ?? Number.NaN).toFixed(1);
  process.stdout.write(`${what}: ${Math.round(perSecond)}/s, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms\n`);
}

/** A core and an echo daemon in this process; the hosts of its accounts, their rows loaded. */
async function open(
  databaseUrl: string,
): Promise<AsyncDisposable & { readonly all: readonly IdentityHost[] }> {
  await using opening = new AsyncDisposableStack();
  const data = await mkdtemp(join(tmpdir(), "linkspan-rows-"));
  opening.defer(() => rm(data, { recursive: true, force: true }));
  const config = parseConfig({ LINKSPAN_DATA: data, LINKSPAN_DATABASE_URL: databaseUrl }, undefined);
  const database = opening.use(new Database(databaseUrl, { maxConnections: config.database_pool }));
  await migrate(database);
  const log = pino({ level: "silent" });
  const none = () => undefined;
  const metrics = { events: none, intent: none, quarantined: none, inboundBatch: none };
  const broker = new EmbeddedBroker();
  const opened = await openCore(config, opening.use(broker.connect("core")), database, metrics, log, opening);
  for (let account = 0; account < most; account++) {
    const id = `account-${account}`;
    const place = { user_id: id, service: "echo", instance: "primary", settings: {} };
    await insertIdentity(database.pool, { id, workspace_id: "bench", ...place });
    await updateIdentity(database.pool, id, { state: "linked" });
  }
  await runCore(opened, opening);
  const all: IdentityHost[] = [];
  const echo = echoConnector({ platform: new EchoPlatform() });
  const connector: Connector = {
    ...echo,
    open: async (identity, host) => {
      await host.rows.load();
      all.push(host);
      return echo.open(identity, host);
    },
  };
  await runBeside(opened.core, opening.use(broker.connect("echo")), connector, config, log, opening);
  await until(() => all.length === most, { what: "the accounts to be connected" });
  const owned = opening.move();
  return { all, [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose]() };
}
