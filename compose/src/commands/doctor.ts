/**
 * `linkspan doctor`: checks whether everything that this configuration needs is available, and says what to
 * do if not.
 */
import { constants, existsSync } from "node:fs";
import { access, readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isFabricError } from "@linkspan/envelopes";
import { Database } from "@linkspan/store";
import { pino } from "pino";
import { addressOf } from "../client.ts";
import type { Config } from "../config.ts";
import type { Output } from "../output.ts";
import { askRedis } from "../redis.ts";
import { busOf } from "../roles/bus.ts";

export interface Finding {
  readonly check: string;
  readonly ok: boolean;
  /** The observation; when not ok, what to do about it. */
  readonly detail: string;
}

const TIMEOUT_MS = 5_000;
const OLDEST_NODE = 24;
const OLDEST_POSTGRES = 150_000;

/** @returns true when every check passes */
export async function doctor(config: Config, out: Output): Promise<boolean> {
  const checks: Record<string, (config: Config) => Promise<Omit<Finding, "check">>> = {
    node,
    "data directory": dataDirectory,
    database,
    broker,
    redis,
    linkspan: running,
  };
  const findings = await Promise.all(
    Object.entries(checks).map(async ([check, look]) => ({ check, ...(await look(config)) })),
  );
  for (const finding of findings) {
    const verdict = finding.ok ? out.good("ok ") : out.bad("bad");
    out.result(finding, `${verdict} ${finding.check}: ${finding.detail}`);
  }
  return findings.every((finding) => finding.ok);
}

const fine = (detail: string) => ({ ok: true, detail });
const amiss = (detail: string) => ({ ok: false, detail });

async function node() {
  const { node: version } = process.versions;
  return Number(version.split(".")[0]) >= OLDEST_NODE
    ? fine(version)
    : amiss(`${version}; run it as npx linkspan, which brings its own Node`);
}

async function dataDirectory({ data }: Config) {
  if (!existsSync(data)) {
    let parent = dirname(data);
    while (!existsSync(parent)) parent = dirname(parent);
    return (await isWritable(parent))
      ? fine(`${data} will be made`)
      : amiss(`${data} cannot be made in ${parent}; set LINKSPAN_DATA`);
  }
  if (!(await isWritable(data))) return amiss(`${data} cannot be written; set LINKSPAN_DATA`);
  const open = await readableByOthers(data);
  return open.length === 0 ? fine(data) : amiss(`others can read ${open.join(", ")}; run chmod 600 on them`);
}

async function isWritable(path: string): Promise<boolean> {
  return access(path, constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  );
}

const SECRET_FILE = /\.(seed|seal|key|token)$|^daemons\/.*\.json$/;

async function readableByOthers(data: string): Promise<string[]> {
  const names = [...(await readdir(data)), ...(await daemonFiles(data))].filter((name) =>
    SECRET_FILE.test(name),
  );
  const modes = await Promise.all(names.map(async (name) => (await stat(join(data, name))).mode));
  return names.filter((_, index) => ((modes[index] ?? 0) & 0o077) !== 0).map((name) => join(data, name));
}

async function daemonFiles(data: string): Promise<string[]> {
  const directory = join(data, "daemons");
  if (!existsSync(directory)) return [];
  return (await readdir(directory)).map((name) => join("daemons", name));
}

async function database({ database_url }: Config) {
  if (database_url === undefined) return fine("none configured; it brings its own PostgreSQL");
  await using store = new Database(database_url, { maxConnections: 1 });
  try {
    const { rows } = await store.query<{ version: number; name: string; may_create: boolean }>(
      `SELECT current_setting('server_version_num')::int AS version, current_database() AS name,
              has_database_privilege(current_database(), 'CREATE') AS may_create`,
    );
    const { version = 0, name, may_create } = rows[0] ?? {};
    if (version < OLDEST_POSTGRES) return amiss(`PostgreSQL ${major(version)}; 15 or newer is needed`);
    if (may_create !== true)
      return amiss(`the role may not create schemas; GRANT CREATE ON DATABASE ${name}`);
    return fine(`PostgreSQL ${major(version)}`);
  } catch (error) {
    return amiss(`${reasonOf(error)}; check LINKSPAN_DATABASE_URL`);
  }
}

const major = (version: number) => Math.floor(version / 10_000);

/** Signs in, so that user, password and vhost are checked too. */
async function broker(config: Config) {
  if (config.amqp_url === undefined) return fine("no RabbitMQ configured; the embedded bus is used");
  const { hostname, port } = new URL(config.amqp_url);
  try {
    await using _bus = await busOf(config, pino({ level: "silent" }))("core");
    return fine(`RabbitMQ lets us in at ${hostname}${port === "" ? "" : `:${port}`}`);
  } catch (error) {
    return amiss(
      `${reasonOf(error)}; start it, check LINKSPAN_AMQP_URL, and give the namespace its vhost: ` +
        `rabbitmqctl add_vhost ${config.namespace}`,
    );
  }
}

async function redis({ redis_url }: Config) {
  if (redis_url === undefined) return fine("none configured; jobs are kept in PostgreSQL");
  try {
    await askRedis(redis_url, TIMEOUT_MS);
    return fine(`Redis answers at ${new URL(redis_url).hostname}`);
  } catch (error) {
    return amiss(`${reasonOf(error)}; start it or check LINKSPAN_REDIS_URL`);
  }
}

interface Readiness {
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[];
}

/** Not an error when nothing runs yet. */
async function running(config: Config) {
  const url = await addressOf(config);
  const response = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(
    () => undefined,
  );
  if (response === undefined) return fine(`nothing runs at ${url}; npm start starts it`);
  const answer = (await response.json().catch(() => undefined)) as Partial<Readiness> | undefined;
  if (answer?.checks === undefined) return amiss(`something else answers at ${url}; set LINKSPAN_PORT`);
  const bad = answer.checks.filter((check) => !check.ok).map(({ name, detail }) => `${name}: ${detail}`);
  return response.ok ? fine(`ready at ${url}`) : amiss(bad.join("; ") || `${url} is stopping`);
}

function reasonOf(error: unknown): string {
  const root = isFabricError(error) && error.cause instanceof Error ? error.cause : error;
  return root instanceof Error ? root.message || root.name : String(root);
}
