/** Which servers are installed, and how a suite that needs one behaves without it. */
import { existsSync, readdirSync, realpathSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { describe, test } from "vitest";

export type ServerName =
  | "rabbitmq"
  | "postgres"
  | "redis"
  | "inspircd"
  | "ngircd"
  | "atheme"
  | "moto"
  | "python";

/** Debian keeps daemons out of users' PATH. */
const EXTRA = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

function onPath(file: string): string | undefined {
  const directories = [...(process.env["PATH"] ?? "").split(delimiter), ...EXTRA];
  return directories.map((directory) => join(directory, file)).find((path) => existsSync(path));
}

/** The highest of Debian's parallel versions. */
function postgresBin(): string | undefined {
  const root = "/usr/lib/postgresql";
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : [];
  const packaged = versions
    .map((version) => join(root, version, "bin", "initdb"))
    .find((path) => existsSync(path));
  return packaged ?? onPath("initdb");
}

/** Debian's `rabbitmq-server` is a wrapper that insists on its own directories; the scripts behind it do not. */
function rabbitmqScript(): string | undefined {
  const root = "/usr/lib/rabbitmq/lib";
  const version = existsSync(root) ? readdirSync(root).sort().at(-1) : undefined;
  if (version !== undefined) return join(root, version, "sbin", "rabbitmq-server");
  const found = onPath("rabbitmq-server");
  return found === undefined ? undefined : realpathSync(found);
}

const FIND: Record<ServerName, () => string | undefined> = {
  rabbitmq: rabbitmqScript,
  postgres: postgresBin,
  redis: () => onPath("redis-server"),
  inspircd: () => onPath("inspircd"),
  ngircd: () => onPath("ngircd"),
  atheme: () => onPath("atheme-services"),
  moto: () => join(import.meta.dirname, "moto/.venv/bin/moto_server"),
  // Of the environment that has the Python peer's packages.
  python: () => join(import.meta.dirname, "../peers/python/.venv/bin/python"),
};

export function available(server: ServerName): boolean {
  const file = FIND[server]();
  return file !== undefined && existsSync(file);
}

/** The server's executable. @throws Error that says what to install */
export function executable(server: ServerName): string {
  const file = FIND[server]();
  if (file === undefined) throw new Error(`${server} is not installed: run tests/servers/install`);
  return file;
}

/** The directory of PostgreSQL's or RabbitMQ's programs. */
export function programsOf(server: "rabbitmq" | "postgres"): string {
  return dirname(executable(server));
}

/** `describe`, when all are installed; else one skipped line, or, with CI set, a failure. */
export function describeWithServers(servers: readonly ServerName[], title: string, suite: () => void): void {
  const missing = servers.filter((server) => !available(server));
  if (missing.length === 0) {
    describe(title, suite);
    return;
  }
  const reason = `needs ${missing.join(", ")}: run tests/servers/install`;
  if (process.env["CI"]) {
    test(title, () => {
      throw new Error(reason);
    });
  } else {
    test.skip(`${title} (${reason})`, () => undefined);
    process.stderr.write(`skipped: ${title} ${reason}\n`);
  }
}
