/** Meaning of a database error: the row's own fault, or a failure that passes. */
import { FabricError, isCausedByRow, isFabricError } from "@linkspan/envelopes";
import pg from "pg";

/** Unique keys over numbers that the database draws itself. */
const GENERATED_KEYS: ReadonlySet<string> = new Set(["event_positions_pkey", "quarantine_pkey"]);

/** Statements that do not fit the schema: a fault of the program or of a migration. Waited out like the rest. */
const OUR_FAULT = /^42/;
/** By a trigger of ours, in our own words. */
const RAISED = "P0001";

/**
 * Only an error that the values of a row certainly cause is `store.rejected`.
 *
 * @param error what the driver threw
 */
export function fromDatabase(error: unknown): unknown {
  if (isFabricError(error) || !(error instanceof Error)) return error;
  const { code, constraint } = error as { readonly code?: unknown; readonly constraint?: unknown };
  const state = typeof code === "string" ? code : undefined;
  const broken = typeof constraint === "string" ? constraint : undefined;
  if (state !== undefined && isCausedByRow({ code: state, constraint: broken }, GENERATED_KEYS)) {
    // The server's own words would quote the value.
    const which = broken === undefined ? "" : `, ${broken}`;
    return new FabricError("store.rejected", `the database cannot hold this (${state}${which})`, {
      cause: error,
    });
  }
  if (state !== undefined && OUR_FAULT.test(state)) {
    return new FabricError("internal", "an unexpected fault", { cause: error });
  }
  // Its text may contain addresses and names; it belongs in the log, which has the cause.
  const reason = state === RAISED ? error.message : (state ?? "connection lost");
  return new FabricError("store.unavailable", `the database did not do it (${reason})`, { cause: error });
}

/**
 * As {@link fromDatabase} for what came out of a transaction, where code of ours ran too.
 *
 * @returns faults of our own code unchanged
 */
export function fromTransaction(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const ofTheDriver = "code" in error || error.constructor === Error || error instanceof AggregateError;
  return ofTheDriver ? fromDatabase(error) : error;
}

/** The connection or the server ended: what it was doing may have been done. */
const ENDED = /^(?:08|57P)/;

/**
 * Whether a transaction that failed with this error may be committed all the same: nobody knows when the answer to its
 * COMMIT did not come.
 */
export function mayBeCommitted(error: unknown): boolean {
  if (!isFabricError(error)) return false;
  if (error.code !== "store.unavailable") return false;
  const { cause } = error;
  return !(cause instanceof pg.DatabaseError) || cause.code === undefined || ENDED.test(cause.code);
}
