/** One logger per process: JSON lines on standard error, so that standard output stays for answers. */
import { pino, type Logger } from "pino";
import type { Config } from "../config.ts";

/** Fields that never reach a line, wherever a library might put them. */
const REDACTED = [
  "password",
  "token",
  "ticket",
  "secret",
  "authorization",
  "*.password",
  "*.token",
  "*.ticket",
  "*.secret",
];

export function logTo(config: Config): Logger {
  return pino(
    {
      level: config.log_level,
      base: { namespace: config.namespace },
      redact: { paths: REDACTED, censor: "[secret]" },
      serializers: { err: describeError },
    },
    pino.destination({ dest: 2, sync: false }),
  );
}

/** A name, a code and our own message; an SDK's error may quote what it was given, so only its name is kept. */
function describeError(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { name: typeof error };
  const code = "code" in error && typeof error.code === "string" ? { code: error.code } : {};
  const own = error.name === "FabricError" ? { message: error.message } : {};
  const stack = error.stack
    ?.split("\n")
    .slice(1, 4)
    .map((line) => line.trim());
  return { name: error.name, ...code, ...own, ...(stack !== undefined && { stack }) };
}
