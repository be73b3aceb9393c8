/**
 * The sequencer's table work: committed events get consecutive positions, in commit order.
 *
 * Serial ids commit out of order, so a reader that remembers the last id it saw can miss a row. An event
 * row carries its transaction's id; once every transaction up to some id has ended, the rows below it are
 * final and can be numbered. Readers use the numbers only.
 */
import { type Database, execute } from "../database.ts";

const ADVANCE = `
WITH seat AS (
  SELECT * FROM sequencer FOR UPDATE SKIP LOCKED
), ready AS (
  SELECT e.id, e.xid, e.received_at, e.workspace_id,
         seat.position + row_number() OVER (ORDER BY e.xid, e.id) AS position
    FROM seat, LATERAL (
      SELECT id, xid, received_at, workspace_id FROM events
       WHERE (xid, id) > (seat.xid, seat.event_id)
         AND xid < pg_snapshot_xmin(pg_current_snapshot())
         AND received_at >= seat.received_at - interval '1 day'
       ORDER BY xid, id LIMIT $1
    ) e
), placed AS (
  INSERT INTO event_positions (position, workspace_id, event_id, received_at, xid)
  SELECT position, workspace_id, id, received_at, xid FROM ready
), last AS (
  SELECT position, xid, id, received_at FROM ready ORDER BY position DESC LIMIT 1
)
UPDATE sequencer SET position = last.position, xid = last.xid, event_id = last.id,
       received_at = greatest(sequencer.received_at, last.received_at)
  FROM last
RETURNING sequencer.position, (SELECT count(*) FROM ready) AS count`;

/**
 * Numbers what became final, up to `limit` rows. Only one process does it at a time; others change nothing.
 *
 * @returns the newest position and how many were given, when there were any
 */
export async function advancePositions(
  database: Database,
  limit = 2_000,
): Promise<{ readonly position: number; readonly count: number } | undefined> {
  type Row = { position: string; count: string };
  const { rows } = await execute<Row>(database.pool, ADVANCE, [limit], "events.advance");
  return rows[0] && { position: Number(rows[0].position), count: Number(rows[0].count) };
}

/** The newest position given so far; 0 when there is none. */
export async function lastPosition(database: Database): Promise<number> {
  const { rows } = await database.query<{ position: string }>("SELECT position FROM sequencer");
  return Number(rows[0]?.position ?? 0);
}
