import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { Database, migrate } from "@linkspan/store";
import { Client } from "pg";
import { directoryFor } from "./account.ts";
import { programsOf } from "./available.ts";
import { reservePort } from "./port.ts";
import { ask, type Server, startServer } from "./server.ts";

export interface PostgresOptions {
  /** Server settings, as after `-c`; fsync and synchronous_commit are on unless changed here. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface PostgresServer extends Server {
  /** The superuser in database `postgres`; no password, loopback only. */
  readonly url: string;
  readonly port: number;
  readonly data: string;
  /** A new empty database. @returns its URL */
  createDatabase(name: string, tablespace?: string): Promise<string>;
  /** A new database with the store's schema: the first is migrated, the others are copied. @returns its URL */
  migratedDatabase(name: string): Promise<string>;
  /** One statement as the superuser, also while the server refuses to write by default. */
  run(sql: string): Promise<void>;
  /** What `pg_dump --format=custom` makes of a database. */
  dump(url: string): Promise<Buffer>;
  /** Into an empty database. */
  load(url: string, dump: Buffer): Promise<void>;
}

export interface StandbyServer extends Server {
  readonly port: number;
  /** Makes it the primary. Resolves when it takes writes. */
  promote(): Promise<void>;
}

async function query(url: string, sql: string): Promise<void> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on("error", () => client.removeAllListeners()); // the awaited call below reports it
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

/** Runs a program with this input. @returns its output */
async function piped(program: string, args: readonly string[], input?: Buffer): Promise<Buffer> {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  const [output, complaints] = [collect(child.stdout), collect(child.stderr)];
  child.stdin.end(input);
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`${program} ended with ${code}: ${(await complaints).toString()}`);
  return output;
}

async function collect(stream: Readable): Promise<Buffer> {
  return Buffer.concat((await stream.toArray()) as Buffer[]);
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

function flagsOf(port: number, settings: PostgresOptions["settings"] = {}): string[] {
  const all = {
    port: String(port),
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    max_connections: "200",
    // In the data directory, which is removed; not in /dev/shm, where a killed server leaves it.
    dynamic_shared_memory_type: "mmap",
    ...settings,
  };
  return Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}

/** The database that others are copied from. Nobody may be connected to it then. */
const MIGRATED = "migrated";

export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const account = "postgres";
  const bin = programsOf("postgres");
  const directory = directoryFor(account, "postgres");
  const data = join(directory, "data");
  const port = await reservePort();

  const initdb = [join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"];
  const quick = ["--locale", "C.UTF-8", "--no-sync", "--no-instructions"];
  await ask({ account, directory, command: [...initdb, ...quick] });

  const urlOf = (database: string): string => `postgres://postgres@127.0.0.1:${port.number}/${database}`;
  const url = urlOf("postgres");
  const copyOf = async (template: string, name: string, tablespace = "pg_default"): Promise<string> => {
    const from = `template ${quoted(template)} tablespace ${quoted(tablespace)}`;
    await query(url, `create database ${quoted(name)} ${from}`);
    return urlOf(encodeURIComponent(name));
  };
  const migrateOne = async (): Promise<string> => {
    await using database = new Database(await copyOf("template1", MIGRATED));
    await migrate(database);
    return MIGRATED;
  };
  let migrated: Promise<string> | undefined;

  return startServer(
    {
      name: "postgres",
      command: [join(bin, "postgres"), "-D", data, ...flagsOf(port.number, options.settings)],
      account,
      directory,
      ports: [port],
      stopSignal: "SIGINT",
      clean: () => removeSegment(data),
      answers: () => query(url, "select 1").then(() => true),
    },
    {
      url,
      port: port.number,
      data,
      createDatabase: (name: string, tablespace?: string) => copyOf("template1", name, tablespace),
      migratedDatabase: async (name: string) => copyOf(await (migrated ??= migrateOne()), name),
      run: (sql: string) => query(`${url}?options=-c%20default_transaction_read_only%3Doff`, sql),
      dump: (from: string) => piped(join(bin, "pg_dump"), ["--format=custom", `--dbname=${from}`]),
      load: async (to: string, dump: Buffer) => {
        await piped(join(bin, "pg_restore"), ["--exit-on-error", `--dbname=${to}`], dump);
      },
    },
  );
}

/** A copy that follows `primary` by streaming; it answers reads only until it is promoted. */
export async function startStandby(primary: PostgresServer): Promise<StandbyServer> {
  const account = "postgres";
  const bin = programsOf("postgres");
  const directory = directoryFor(account, "postgres");
  const data = join(directory, "data");
  const port = await reservePort();
  const copy = [
    join(bin, "pg_basebackup"),
    "-d",
    primary.url,
    "-D",
    data,
    "-R",
    "-X",
    "stream",
    "-c",
    "fast",
  ];
  await ask({ account, directory, command: copy });
  const url = `postgres://postgres@127.0.0.1:${port.number}/postgres`;
  return startServer(
    {
      name: "postgres",
      command: [join(bin, "postgres"), "-D", data, ...flagsOf(port.number)],
      account,
      directory,
      ports: [port],
      stopSignal: "SIGINT",
      clean: () => removeSegment(data),
      answers: () => query(url, "select 1").then(() => true),
    },
    {
      port: port.number,
      promote: () => query(url, "select pg_promote()"),
    },
  );
}

/** The shared memory that guards the data directory; a killed server leaves it, and only a next start removes it. */
function removeSegment(data: string): void {
  const file = join(data, "postmaster.pid");
  const line = existsSync(file) ? readFileSync(file, "utf8").split("\n")[6] : undefined;
  const [, id] = line?.trim().split(/\s+/) ?? [];
  if (id !== undefined) spawnSync("ipcrm", ["-m", id]);
}
