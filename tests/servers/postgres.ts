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
  /** A new empty database. @returns its URL */
  createDatabase(name: string): Promise<string>;
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

export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const account = "postgres";
  const bin = programsOf("postgres");
  const directory = directoryFor(account, "postgres");
  const data = join(directory, "data");
  const port = await reservePort();

  const initdb = [join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"];
  const quick = ["--locale", "C.UTF-8", "--no-sync", "--no-instructions"];
  await ask({ account, directory, command: [...initdb, ...quick] });

  const settings = {
    port: String(port.number),
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    max_connections: "200",
    ...options.settings,
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const urlOf = (database: string): string => `postgres://postgres@127.0.0.1:${port.number}/${database}`;
  const url = urlOf("postgres");

  return startServer(
    {
      name: "postgres",
      command: [join(bin, "postgres"), "-D", data, ...flags],
      account,
      directory,
      ports: [port],
      stopSignal: "SIGINT",
      answers: () => query(url, "select 1").then(() => true),
    },
    {
      url,
      port: port.number,
      createDatabase: async (name: string) => {
        await query(url, `create database "${name.replaceAll('"', '""')}"`);
        return urlOf(encodeURIComponent(name));
      },
    },
  );
}
