import type { LoggerOptions } from "pino";
import { describeError } from "./describe-error.ts";

/**
 * Options for every logger: errors are described without messages of other libraries. Pino uses the message
 * of an error under its error key as the message of the line, so that key is set to one that nobody uses.
 */
export const LOG_OPTIONS = {
  errorKey: "thrown",
  serializers: { err: (error: unknown) => describeError(error) },
  hooks: {
    logMethod(args, method) {
      const [first, ...rest] = args as unknown[];
      const fields = first instanceof Error ? { err: first } : first;
      method.apply(this, [fields, ...rest] as typeof args);
    },
  },
} as const satisfies LoggerOptions;
