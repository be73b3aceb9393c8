import { join } from "node:path";
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

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

function flagsOf(port: number, settings: PostgresOptions["settings"] = {}): string[] {
  const all = {
    port: String(port),
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    max_connections: "200",
    ...settings,
  };
  return Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}

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

  return startServer(
    {
      name: "postgres",
      command: [join(bin, "postgres"), "-D", data, ...flagsOf(port.number, options.settings)],
      account,
      directory,
      ports: [port],
      stopSignal: "SIGINT",
      answers: () => query(url, "select 1").then(() => true),
    },
    {
      url,
      port: port.number,
      data,
      createDatabase: async (name: string, tablespace: string = "pg_default") => {
        await query(url, `create database ${quoted(name)} tablespace ${quoted(tablespace)}`);
        return urlOf(encodeURIComponent(name));
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
      answers: () => query(url, "select 1").then(() => true),
    },
    {
      port: port.number,
      promote: () => query(url, "select pg_promote()"),
    },
  );
}
