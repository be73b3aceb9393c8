/**
 * Draws the stack's secrets, once, into `compose/stack/secrets` (never committed):
 * `npx node compose/stack/prepare.ts`. What is there already is kept.
 */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { definitions, type Participant } from "./definitions.ts";

export const VHOST = "main";
export const DAEMONS = ["irc", "echo"] as const;

/** File name → contents. */
export function secrets(draw: () => string): Record<string, string> {
  const postgres = draw();
  const redis = draw();
  const participants: Participant[] = [
    { user: "core", password: draw(), role: { kind: "core" } },
    ...DAEMONS.map((service) => ({
      user: service,
      password: draw(),
      role: { kind: "daemon" as const, service, instance: "primary" },
    })),
  ];
  return {
    postgres_password: postgres,
    redis_password: redis,
    database_url: `postgres://linkspan:${postgres}@postgres:5432/linkspan`,
    redis_url: `redis://:${redis}@redis:6379`,
    ...Object.fromEntries(
      participants.map(({ user, password }) => [
        `amqp_${user}_url`,
        `amqp://${user}:${password}@rabbitmq:5672/${VHOST}`,
      ]),
    ),
    "rabbitmq_definitions.json": JSON.stringify(definitions(VHOST, participants), undefined, 2),
  };
}

/** @returns false when there were secrets already */
export function prepare(directory: string): boolean {
  if (existsSync(directory)) return false;
  mkdirSync(directory, { mode: 0o700 });
  for (const [name, text] of Object.entries(secrets(() => randomBytes(24).toString("base64url")))) {
    // Read by the containers' own accounts; the directory keeps everybody else out.
    writeFileSync(join(directory, name), `${text}\n`, { mode: 0o444 });
  }
  return true;
}

if (import.meta.main) {
  const directory = fileURLToPath(new URL("secrets", import.meta.url));
  const drawn = prepare(directory);
  process.stdout.write(`${drawn ? "drawn into" : "kept as they are in"} ${directory}\n`);
}
