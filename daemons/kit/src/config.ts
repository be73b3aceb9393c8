/**
 * A daemon's configuration: the variables `LINKSPAN_DAEMON_*`, parsed together; one error lists every fault.
 */
import { FabricError } from "@linkspan/envelopes";
import { z } from "zod";

const PREFIX = "LINKSPAN_DAEMON_";

export const DaemonConfigSchema = z.strictObject({
  instance: z
    .string()
    .regex(/^[a-z0-9][a-z0-9_-]{0,62}$/)
    .default("primary")
    .describe("logical shard that this process serves"),
  busUrl: z.url({ protocol: /^amqps?$/ }).describe("message broker, amqp:// or amqps://"),
  keyFile: z.string().min(1).default("./daemon-keys.json").describe("keys, made by enrolment, mode 0600"),
  coreUrl: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe("HTTP address of the core; only needed to enrol"),
  enrolTokenFile: z
    .string()
    .min(1)
    .optional()
    .describe("file with the one-time token of `linkspan daemon enrol`"),
  logLevel: z.enum(["trace", "debug", "info", "warn", "error"]).default("info"),
});

export type DaemonConfig = z.output<typeof DaemonConfigSchema>;

/**
 * Reads `LINKSPAN_DAEMON_BUS_URL` as `busUrl`, and so on. Other variables are ignored.
 *
 * @param schema {@link DaemonConfigSchema}, or a daemon's extension of it
 * @throws FabricError `request.invalid` with every fault, one per line; values are not repeated
 */
export function parseConfig<S extends z.ZodType = typeof DaemonConfigSchema>(
  env: Readonly<Record<string, string | undefined>>,
  schema: S = DaemonConfigSchema as unknown as S,
): z.output<S> {
  const given = Object.entries(env)
    .filter(([name, value]) => name.startsWith(PREFIX) && value !== undefined && value !== "")
    .map(([name, value]) => [memberName(name), value]);
  const result = schema.safeParse(Object.fromEntries(given));
  if (result.success) return result.data;
  const faults = result.error.issues.flatMap(describe);
  throw new FabricError("request.invalid", `the configuration has faults:\n${faults.join("\n")}`);
}

function describe(issue: z.core.$ZodIssue): string[] {
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => `${variableName(key)}: there is no such setting`);
  }
  return [`${variableName(String(issue.path[0] ?? ""))}: ${issue.message}`];
}

function memberName(variable: string): string {
  return variable
    .slice(PREFIX.length)
    .toLowerCase()
    .replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function variableName(member: string): string {
  return PREFIX + member.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}
