/** A transaction that stays open, in words for the person who must end it. */
import type { OpenTransaction } from "@linkspan/store";

/** Open for this long it is worth a word: while it is, old rows are not cleaned away. */
export const LONG_TRANSACTION_MS = 300_000;

/** @returns undefined when nothing is open for long */
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
