/** PostgreSQL transactions on a pool that the composition root owns. */
import { FabricError, isCausedByRow, isFabricError } from "@linkspan/envelopes";
import type pg from "pg";

/** A connection inside a transaction; all its writes are committed or rolled back together. */
export type Transaction = Pick<pg.ClientBase, "query">;

/** The part of a `pg.Pool` that the vault uses. */
export type Pool = Pick<pg.Pool, "connect">;

/**
 * Commits all changes of `work`, or none of them.
 *
 * @throws FabricError `store.rejected` when the database cannot hold a value, `vault.unavailable` when the
 *   transaction fails for another reason, or what `work` throws
 */
export async function inTransaction<T>(pool: Pool, work: (tx: Transaction) => Promise<T>): Promise<T> {
  const client = await pool.connect().catch((error: unknown) => {
    throw fromDatabase(error);
  });
  let broken: Error | undefined;
  const lost = (error: Error): void => {
    broken = error;
  };
  client.on("error", lost);
  try {
    await client.query("BEGIN");
    const result = await work(client);
    // PostgreSQL answers the COMMIT of a failed transaction with a rollback, which the driver reports as
    // success.
    const { command } = await client.query("COMMIT");
    if (command !== "COMMIT") {
      throw new FabricError(
        "vault.unavailable",
        "a statement of the transaction had failed; nothing is stored",
      );
    }
    return result;
  } catch (error) {
    await client.query("ROLLBACK").catch((failure: unknown) => {
      broken = failure instanceof Error ? failure : new Error("the rollback failed");
    });
    throw fromDatabase(error);
  } finally {
    client.off("error", lost);
    client.release(broken);
  }
}

/**
 * The driver's own faults are plain errors. Details of the server's errors may quote rows, so only the
 * SQLSTATE is reported.
 */
function fromDatabase(error: unknown): unknown {
  if (isFabricError(error) || !(error instanceof Error)) return error;
  const { code, constraint } = error as { readonly code?: unknown; readonly constraint?: unknown };
  const state = typeof code === "string" ? code : undefined;
  const plain = error.constructor === Error || error instanceof AggregateError;
  if (state === undefined && !plain) return error;
  const broken = typeof constraint === "string" ? constraint : undefined;
  if (state !== undefined && isCausedByRow({ code: state, constraint: broken })) {
    return new FabricError("store.rejected", `the vault's database cannot hold this (${state})`, {
      cause: error,
    });
  }
  return new FabricError(
    "vault.unavailable",
    `the vault's database refused (${state ?? "connection lost"})`,
    {
      cause: error,
    },
  );
}
