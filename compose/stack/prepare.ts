/**
 * Generates the stack's secrets, once, in `compose/stack/secrets` (never committed): `npx node
 * compose/stack/prepare.ts`. Existing secrets are kept; the broker's definitions follow the version.
 */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { definitions, type Participant } from "./definitions.ts";

export const VHOST = "main";
export const DAEMONS = ["irc", "echo"] as const;

const DEFINITIONS = "rabbitmq_definitions.json";
const urlFile = (user: string): string => `amqp_${user}_url`;

function participants(passwordOf: (user: string) => string): Participant[] {
  return [
    { user: "core", password: passwordOf("core"), role: { kind: "core" } },
    ...DAEMONS.map((service) => ({
      user: service,
      password: passwordOf(service),
      role: { kind: "daemon" as const, service, instance: "primary" },
    })),
  ];
}

function definitionsFor(users: readonly Participant[]): string {
  return JSON.stringify(definitions(VHOST, users), undefined, 2);
}

/** File name → contents. */
export function secrets(draw: () => string): Record<string, string> {
  const postgres = draw();
  const redis = draw();
  const users = participants(draw);
  return {
    postgres_password: postgres,
    redis_password: redis,
    database_url: `postgres://linkspan:${postgres}@postgres:5432/linkspan`,
    redis_url: `redis://:${redis}@redis:6379`,
    ...Object.fromEntries(
      users.map(({ user, password }) => [urlFile(user), `amqp://${user}:${password}@rabbitmq:5672/${VHOST}`]),
    ),
    [DEFINITIONS]: definitionsFor(users),
  };
}

/**
 * Existing secrets are kept. The broker's definitions are written again with the same passwords, because
 * rights change with versions.
 *
 * @returns false when there were secrets already
 */
export function prepare(directory: string): boolean {
  if (existsSync(directory)) {
    const passwordOf = (user: string) =>
      new URL(readFileSync(join(directory, urlFile(user)), "utf8").trim()).password;
    write(directory, DEFINITIONS, definitionsFor(participants(passwordOf)));
    return false;
  }
  mkdirSync(directory, { mode: 0o700 });
  for (const [name, text] of Object.entries(secrets(() => randomBytes(24).toString("base64url")))) {
    write(directory, name, text);
  }
  return true;
}

/** The containers' own accounts read it; the directory's mode excludes all other users. */
function write(directory: string, name: string, text: string): void {
  const path = join(directory, name);
  rmSync(path, { force: true });
  writeFileSync(path, `${text}\n`, { mode: 0o444 });
}

if (import.meta.main) {
  const directory = fileURLToPath(new URL("secrets", import.meta.url));
  const drawn = prepare(directory);
  process.stdout.write(
    `${drawn ? "drawn into" : "kept, with the broker's definitions of this version, in"} ${directory}\n`,
  );
}
