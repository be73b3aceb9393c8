/** Describes a long open transaction to the person who must end it. */
import type { OpenTransaction } from "@linkspan/store";

/**
 * A transaction that is open longer than this is reported, because old rows cannot be cleaned up while it is
 * open.
 */
export const LONG_TRANSACTION_MS = 300_000;

/** @returns undefined when no transaction is open for long */
export function holdUp(oldest: OpenTransaction | undefined): string | undefined {
  if (oldest === undefined || oldest.ageMs < LONG_TRANSACTION_MS) return undefined;
  const { ageMs, pid, application, user, database, state } = oldest;
  const who =
    pid === undefined
      ? `prepared transaction ${application}`
      : `process ${pid} (${application || "no name"})`;
  return (
    `${who} of ${user} in database ${database} has a transaction open for ${Math.round(ageMs / 1_000)} s ` +
    `(${state}); old rows are not cleaned away until it ends`
  );
}
