import { CODES, FabricError, isFabricError } from "@linkspan/envelopes";
import { UnrecoverableError } from "bullmq";

/** The next step after a run that rejected. */
export type Failure =
  | { readonly outcome: "retry" | "give_up"; readonly code: string }
  | { readonly outcome: "later"; readonly code: string; readonly afterMs: number };

export function failureOf(error: unknown): Failure {
  if (!isFabricError(error)) return { outcome: "retry", code: nameOf(error) };
  const { code, retryAfterMs } = error;
  if (CODES[code].retry === "never") return { outcome: "give_up", code };
  return retryAfterMs === undefined
    ? { outcome: "retry", code }
    : { outcome: "later", code, afterMs: retryAfterMs };
}

/**
 * The error that the backend stores for a failure: its code, without the message and the stack of the
 * original.
 */
export function storedFailure(failure: Failure): Error {
  const error =
    failure.outcome === "give_up" ? new UnrecoverableError(failure.code) : new Error(failure.code);
  error.stack = failure.code;
  return error;
}

/**
 * After the arguments were checked, every rejection of a backend means that the backend cannot be reached.
 */
export function unavailable(cause: unknown): FabricError {
  return new FabricError("store.unavailable", `the job queue did not answer (${nameOf(cause)})`, { cause });
}

/** For logs: a system or database code, or the class; never a message. */
export function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  return "code" in error && typeof error.code === "string" ? error.code : error.name;
}
