/** One logger per process: JSON lines on standard error, so that standard output contains only answers. */
import { LOG_OPTIONS, logDestination } from "@linkspan/daemon-kit/process";
import { pino, type Logger } from "pino";
import type { Config } from "../config.ts";

/** Fields that are never logged, wherever a library might put them. */
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
      ...LOG_OPTIONS,
      level: config.log_level,
      base: { namespace: config.namespace },
      redact: { paths: REDACTED, censor: "[secret]" },
    },
    logDestination(),
  );
}
