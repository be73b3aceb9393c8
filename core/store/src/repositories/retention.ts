/**
 * Tables that are not split by month and still must not grow for ever: rows older than the retention are deleted, in
 * bounded batches, each a transaction of its own. Inbox keys are kept for good.
 */
import { type Database, execute } from "../database.ts";
import { oldestMonth } from "../partitions.ts";

const BATCH = 5_000;

/** One statement that deletes at most `$2` rows older than `$1`. */
const STATEMENTS = {
  // The idempotency key goes with its intent. Found by age only: an index of states would be read whole for each
  // batch, and NOT EXISTS lets the planner join the whole outbox.
  intents: `
    DELETE FROM intents WHERE id = ANY (ARRAY(
      SELECT i.id FROM intents i
       WHERE i.created_at < $1 AND i.updated_at < $1
         AND i.state NOT IN ('recorded', 'held', 'queued', 'attempting')
         AND (SELECT count(*) FROM outbox o WHERE o.intent_id = i.id) = 0
       LIMIT $2))`,
  quarantine: `
    DELETE FROM quarantine WHERE id = ANY (ARRAY(SELECT id FROM quarantine WHERE at < $1 ORDER BY at LIMIT $2))`,
  auth_sessions: `
    DELETE FROM auth_sessions WHERE id = ANY (ARRAY(
      SELECT id FROM auth_sessions
       WHERE changed_at < $1 AND state IN ('linked', 'failed', 'expired', 'cancelled')
       ORDER BY changed_at LIMIT $2))`,
  contacts: `
    DELETE FROM contacts WHERE ctid = ANY (ARRAY(
      SELECT c.ctid FROM identities i JOIN contacts c ON c.workspace_id = i.workspace_id AND c.identity_id = i.id
       WHERE i.state = 'unlinked' AND i.unlinked_at < $1
       LIMIT $2))`,
  enrolments: `
    DELETE FROM enrolments WHERE token_hash = ANY (ARRAY(
      SELECT token_hash FROM enrolments WHERE expires_at < $1 LIMIT $2))`,
} as const;

export type Aged = keyof typeof STATEMENTS | "event_positions";

/**
 * Deletes what is older than `before`.
 *
 * @param stopping ends it between two batches; the next sweep goes on
 * @returns how many rows of each table went away, where any did
 */
export async function deleteAged(
  database: Database,
  before: Date,
  stopping?: AbortSignal,
): Promise<Partial<Record<Aged, number>>> {
  const deleted: Partial<Record<Aged, number>> = {};
  for (const [table, statement] of Object.entries(STATEMENTS) as [keyof typeof STATEMENTS, string][]) {
    for (;;) {
      if (stopping?.aborted === true) return deleted;
      const { rowCount } = await execute(database.pool, statement, [before, BATCH]);
      if (rowCount !== null && rowCount > 0) deleted[table] = (deleted[table] ?? 0) + rowCount;
      if ((rowCount ?? 0) < BATCH) break;
    }
  }
  const positions = await deletePositions(database, stopping);
  if (positions > 0) deleted.event_positions = positions;
  return deleted;
}

/** The database's time, or that of the newest event where that is later. */
export async function latestTime(database: Database): Promise<Date> {
  const { rows } = await database.query<{ at: Date }>(
    `SELECT greatest(now(), (SELECT received_at FROM event_positions ORDER BY position DESC LIMIT 1)) AS at`,
  );
  return rows[0]?.at ?? new Date(0);
}

/** Windows without a row to delete, one after the other, before the rest is taken for young too. */
const YOUNG_WINDOWS = 20;

/**
 * Positions go with the events that they point to, so never before their month was dropped. They are nearly in
 * the order of time; where a clock was set back, old ones lie behind younger ones.
 */
async function deletePositions(database: Database, stopping: AbortSignal | undefined): Promise<number> {
  const from = await oldestMonth(database, "events");
  if (from === undefined) return 0;
  let deleted = 0;
  let after = "0";
  for (let young = 0; young < YOUNG_WINDOWS && stopping?.aborted !== true; ) {
    const { rows } = await execute<{ last: string | null; gone: number }>(
      database.pool,
      `WITH part AS (
         SELECT position, received_at FROM event_positions WHERE position > $2 ORDER BY position LIMIT $3
       ), gone AS (
         DELETE FROM event_positions p USING part
          WHERE p.position = part.position AND part.received_at < $1 RETURNING 1
       )
       SELECT (SELECT max(position) FROM part) AS last, (SELECT count(*)::int FROM gone) AS gone`,
      [from, after, BATCH],
    );
    const { last = null, gone = 0 } = rows[0] ?? {};
    if (last === null) break;
    after = last;
    deleted += gone;
    young = gone > 0 ? 0 : young + 1;
  }
  return deleted;
}
