/**
 * One configuration for every role: `LINKSPAN_*` variables override one YAML file, which overrides the
 * defaults.
 *
 * The table is the source: parsing, `linkspan config` and `.env.example` are made from it.
 */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import { MEDIA_SETTINGS, mediaFaults } from "./media-settings.ts";
import { addresses, path, rate, url } from "./setting-schemas.ts";

export const ROLES = ["core", "api", "irc", "echo"] as const;
export type Role = (typeof ROLES)[number];

const list = z.preprocess(
  (value) => (typeof value === "string" ? value.split(",").map((item) => item.trim()) : value),
  z.array(z.enum(ROLES)).min(1),
);
/** Every setting: its schema and its purpose. Names are for the file; variables: `LINKSPAN_` and upper case. */
const SETTINGS = {
  port: [z.coerce.number().int().min(0).max(65_535).default(8_787), "Port of the HTTP API"],
  host: [z.string().min(1).default("127.0.0.1"), "Address the HTTP API listens on"],
  data: [path.default("./.linkspan"), "Directory for keys and, without a database URL, the database"],
  roles: [list.default([...ROLES]), `What this process runs: any of ${ROLES.join(", ")}`],
  profile: [
    z.enum(["development", "production"]).default("development"),
    "production refuses what is only for development",
  ],
  namespace: [
    z
      .string()
      .regex(/^[a-z][a-z0-9_-]{0,31}$/)
      .default("main"),
    "Trust domain; a vhost on RabbitMQ",
  ],
  partitions: [z.coerce.number().int().min(1).max(64).default(8), "Partitions of a new namespace"],
  instance: [
    z
      .string()
      .regex(/^[a-z0-9][a-z0-9_-]{0,62}$/)
      .default("primary"),
    "Shard that this process's daemons serve",
  ],
  signatures: [
    z.enum(["required", "optional"]).default("required"),
    "optional takes unsigned envelopes of foreign daemons",
  ],
  foreign_workspace: [
    z
      .string()
      .regex(/^[A-Za-z0-9_-]{1,64}$/)
      .default("default"),
    "With optional signatures: workspace of foreign daemons' envelopes that name none",
  ],
  database_url: [
    url("postgres:", "postgresql:").optional(),
    "PostgreSQL 15 or newer; absent: brings its own",
  ],
  database_pool: [
    z.coerce.number().int().min(2).max(200).default(6),
    "Connections to the database at most; up to five come on top, see docs/operations.md",
  ],
  amqp_url: [url("amqp:", "amqps:").optional(), "RabbitMQ; absent: the embedded bus, within this process"],
  amqp_ca: [path.optional(), "File with the certificate authority for amqps"],
  amqp_cert: [path.optional(), "File with the client certificate (EXTERNAL)"],
  amqp_key: [path.optional(), "File with the client certificate's key"],
  amqp_replay_mib: [
    z.coerce.number().int().min(0).max(1_048_576).default(256),
    "Size of the stream that keeps what the core was sent, MiB, at most a week; 0: none",
  ],
  redis_url: [url("redis:", "rediss:").optional(), "Redis for jobs; absent: jobs on PostgreSQL"],
  vault_key: [path.optional(), "File with the key-encryption key; default vault.key in the data directory"],
  core_url: [
    url("http:", "https:").optional(),
    "Where a daemon enrols and commands connect; default this host and port",
  ],
  enrol_token_file: [
    path.optional(),
    "File with a one-time token, for a daemon that runs without core and has no keys yet",
  ],
  token: [
    z.string().min(1).optional(),
    "API token for commands; default the owner's, from the data directory",
  ],
  workspace: [
    z
      .string()
      .regex(/^(\*|[A-Za-z0-9_-]{1,64})$/)
      .optional(),
    "Workspace that commands are about; default the token's, or default",
  ],
  irc_private_hosts: [
    z.enum(["allow", "refuse"]).optional(),
    "Whether users may name IRC servers on private addresses; default: in development",
  ],
  fan_out: [
    z.enum(["on", "off"]).default("off"),
    "Whether events also go to subscribers on the bus, as bridge/core/fanout",
  ],
  trust_proxy: [
    addresses.default([]),
    "Addresses or CIDR ranges of proxies whose X-Forwarded-For is believed, with commas; others' is ignored",
  ],
  api_rate_token: [rate.default(200), "Requests a second with one token; five times as many at once"],
  api_rate_workspace: [
    rate.default(400),
    "Requests a second about one workspace; five times as many at once",
  ],
  api_rate_address: [
    rate.default(50),
    "Requests a second from one address without a valid token; four times as many at once",
  ],
  api_connections: [z.coerce.number().int().min(1).max(65_535).default(4_000), "HTTP connections at once"],
  api_connections_address: [
    z.coerce.number().int().min(1).max(65_535).default(400),
    "HTTP connections at once from one address that is no trusted proxy",
  ],
  api_streams: [
    z.coerce.number().int().min(1).max(65_535).default(1_000),
    "Event streams and long polls at once",
  ],
  api_streams_token: [
    z.coerce.number().int().min(1).max(65_535).default(20),
    "Event streams and long polls at once with one token",
  ],
  accounts_workspace: [
    z.coerce.number().int().min(1).max(1_000_000).default(10_000),
    "Linked accounts of one workspace",
  ],
  accounts_linking: [
    z.coerce.number().int().min(1).max(1_000_000).default(1_000),
    "Accounts of one workspace that are being linked at once",
  ],
  intent_text_kib: [z.coerce.number().int().min(1).max(512).default(64), "Largest text of an intent, KiB"],
  intent_queue_identity: [
    z.coerce.number().int().min(1).max(1_000_000).default(5_000),
    "Unsettled intents of one identity; more are refused until some are settled",
  ],
  intent_queue_workspace: [
    z.coerce.number().int().min(1).max(10_000_000).default(20_000),
    "Unsettled intents of one workspace",
  ],
  ...MEDIA_SETTINGS,
  retention_days: [
    z.coerce.number().int().min(1).default(90),
    "How long bodies and histories are kept, days",
  ],
  audit_retention_days: [
    z.coerce.number().int().min(1).optional(),
    "How long audit entries are kept, days; absent: for good",
  ],
  log_level: [z.enum(["silent", "error", "warn", "info", "debug"]).default("info"), "Least severe log line"],
} as const satisfies Record<string, readonly [z.ZodType, string]>;

type Settings = typeof SETTINGS;
const Schema = z.strictObject(
  Object.fromEntries(Object.entries(SETTINGS).map(([name, [schema]]) => [name, schema])) as {
    [K in keyof Settings]: Settings[K][0];
  },
);
export type Config = z.output<typeof Schema>;

const PREFIX = "LINKSPAN_";
/** Read by the daemons' own entry points and by the tests, or earlier, and not here. */
const ELSEWHERE = /^LINKSPAN_(DAEMON_|TEST_|CONFIG$)/;
/** Settings that contain a secret: each may also be in a file that `LINKSPAN_<NAME>_FILE` names. */
const SECRETS = [
  "database_url",
  "amqp_url",
  "redis_url",
  "token",
  "media_s3_secret",
] as const satisfies (keyof Settings)[];

const isSecret = (name: string): boolean => SECRETS.some((secret) => secret === name);

export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/**
 * Pure. Variables override the file.
 *
 * @param file parsed YAML, or undefined when there is none
 * @throws ConfigError that names every fault at once, and no value
 */
export function parseConfig(env: Readonly<Record<string, string | undefined>>, file: unknown): Config {
  const given: unknown = file ?? {};
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new ConfigError("configuration:\n  the file does not hold settings, as `name: value`");
  }
  const fromEnv = Object.entries(env)
    .filter(
      ([name, value]) =>
        name.startsWith(PREFIX) && !ELSEWHERE.test(name) && value !== undefined && value !== "",
    )
    .map(([name, value]) => [name.slice(PREFIX.length).toLowerCase(), value]);
  const parsed = Schema.safeParse({ ...given, ...Object.fromEntries(fromEnv) });
  const faults = parsed.success ? combinations(parsed.data) : parsed.error.issues.map(describe);
  if (!parsed.success || faults.length > 0) throw new ConfigError(`configuration:\n  ${faults.join("\n  ")}`);
  return { ...parsed.data, data: resolve(parsed.data.data) };
}

/** Reads the files that `LINKSPAN_CONFIG` and `LINKSPAN_<NAME>_FILE` name. @throws ConfigError */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const withSecrets: Record<string, string | undefined> = { ...env };
  for (const name of SECRETS) {
    const variable = PREFIX + name.toUpperCase();
    const file = env[`${variable}_FILE`];
    delete withSecrets[`${variable}_FILE`];
    if (file !== undefined && file !== "") withSecrets[variable] = readText(file).trim();
  }
  const file = env.LINKSPAN_CONFIG;
  return parseConfig(withSecrets, file === undefined || file === "" ? undefined : readYaml(file));
}

function readYaml(path: string): unknown {
  const text = readText(path);
  try {
    return parseYaml(text);
  } catch (cause) {
    throw new ConfigError(`configuration: ${path} is not YAML`, { cause });
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new ConfigError(`configuration: ${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

function combinations(config: Config): string[] {
  const faults: string[] = [];
  const refuse = (when: boolean, fault: string) => void (when && faults.push(fault));
  const production = config.profile === "production";
  refuse(production && config.signatures === "optional", "signatures: optional is for development only");
  refuse(production && config.database_url === undefined, "database_url: the production profile needs one");
  refuse(
    (config.amqp_cert === undefined) !== (config.amqp_key === undefined),
    "amqp_cert and amqp_key go together",
  );
  refuse(
    config.amqp_url === undefined && !config.roles.includes("core"),
    "roles: without core, this process needs amqp_url, because the embedded bus lives in one process",
  );
  refuse(
    config.roles.includes("api") && !config.roles.includes("core") && config.database_url === undefined,
    "roles: api without core needs database_url",
  );
  return [...faults, ...mediaFaults(config)];
}

function describe(issue: z.core.$ZodIssue): string {
  if (issue.code === "unrecognized_keys") return `unknown setting: ${issue.keys.join(", ")}`;
  return `${issue.path.join(".")}: ${issue.message}`;
}

/** The effective configuration with passwords and tokens replaced, for people. */
export function redacted(config: Config): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(config).map(([name, value]) => {
      if (typeof value === "string" && name.endsWith("_url")) return [name, withoutPassword(value)];
      return [name, isSecret(name) && value !== undefined ? "[secret]" : value];
    }),
  );
}

function withoutPassword(text: string): string {
  const parsed = new URL(text);
  if (parsed.password !== "") parsed.password = "secret";
  for (const name of new Set(parsed.searchParams.keys())) {
    if (/pass|secret|token|key/i.test(name)) parsed.searchParams.set(name, "secret");
  }
  return parsed.toString();
}

/** Every variable with its default, commented out. */
export function envExample(): string {
  const secrets: readonly string[] = SECRETS;
  const lines = Object.entries(SETTINGS).map(([name, [schema, about]]) => {
    const fallback = schema.safeParse(undefined).data;
    const value = Array.isArray(fallback) ? fallback.join(",") : (fallback ?? "");
    const variable = PREFIX + name.toUpperCase();
    const beside = secrets.includes(name) ? `; or ${variable}_FILE` : "";
    return `# ${about}${beside}\n# ${variable}=${value}\n`;
  });
  return `# Settings of Linkspan, with their defaults. A YAML file that LINKSPAN_CONFIG names holds the same, in lower\n# case without the prefix; variables win over it.\n\n${lines.join("\n")}`;
}

/**
 * Bus and database run in this process, under the data directory's lock: no other process can hold anything.
 */
export function isAlone({ amqp_url, database_url }: Config): boolean {
  return amqp_url === undefined && database_url === undefined;
}
