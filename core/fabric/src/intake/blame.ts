/** Whose fault a rejection is, which decides whether a message may ever be given up for it. */
import { CODES, type ErrorCode, isFabricError } from "@linkspan/envelopes";

export type Blame =
  /** The message's: the same input fails again. */
  | { readonly on: "message"; readonly code: ErrorCode; readonly detail: string }
  /** The surroundings': waited out, however long. */
  | { readonly on: "surroundings"; readonly retryAfterMs: number | undefined }
  /** Not known: after enough tries alone, the message's. */
  | { readonly on: "unknown"; readonly detail: string };

/** A consumer that lost its lease says nothing about the message. */
const INNOCENT: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["lease.lost"]);

export function blameFor(error: unknown): Blame {
  if (!isFabricError(error)) {
    return { on: "unknown", detail: error instanceof Error ? error.name : "not an error" };
  }
  if (CODES[error.code].retry === "never" && !INNOCENT.has(error.code)) {
    return { on: "message", code: error.code, detail: error.message };
  }
  return { on: "surroundings", retryAfterMs: error.retryAfterMs };
}
