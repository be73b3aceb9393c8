/**
 * Which errors of PostgreSQL the values of a row cause by themselves.
 *
 * The list is closed. Whatever is not on it (read-only after a failover, disk full, a missing month, a lock
 * that is held, a shutdown, a fault of ours in the SQL) would hit any row, and is waited out.
 */

/** SQLSTATEs that only the value decides. */
const OF_A_VALUE: ReadonlySet<string> = new Set([
  "22001", // too long for the column
  "22003", // number out of range
  "22007", // not a date
  "22008", // date out of range
  "22009", // time zone out of range
  "22021", // bytes that are no text, U+0000 among them
  "22P02", // not a number, UUID or JSON
  "22P03", // not in the binary form of its type
  "22P05", // a character that the database cannot hold, \u0000 in JSON among them
  "22032", // not JSON
  "23502", // a value is missing
  "23503", // what it refers to does not exist
  "54000", // too large for an index, an array or JSON
]);
const CHECK_VIOLATION = "23514";
const UNIQUE_VIOLATION = "23505";

export interface SqlError {
  /** SQLSTATE. */
  readonly code: string;
  /** Name of the violated constraint, where there is one. */
  readonly constraint?: string | undefined;
}

/**
 * @param generatedKeys unique constraints over numbers that the database draws itself: a collision there means
 * that a counter was lost, which is no row's doing
 * @returns whether the same row fails in the same way whenever and wherever it is written
 */
export function isCausedByRow(error: SqlError, generatedKeys: ReadonlySet<string> = new Set()): boolean {
  const { code, constraint } = error;
  if (OF_A_VALUE.has(code)) return true;
  // "no partition of relation found for row" has this SQLSTATE too, but no constraint.
  if (code === CHECK_VIOLATION) return constraint !== undefined;
  return code === UNIQUE_VIOLATION && constraint !== undefined && !generatedKeys.has(constraint);
}
