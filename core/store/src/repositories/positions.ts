/**
 * The sequencer's table work: committed events get consecutive positions, in the order in which they became
 * visible.
 *
 * Serial ids commit out of order, so a reader that remembers the last id it saw can miss a row. Each event row
 * carries its transaction's id, and the sequencer remembers the snapshot whose rows all have positions: what
 * is visible now and was not then is new. Readers use the positions only. See `migrations/0040-numbering.sql`.
 */
import { type Database, execute } from "../database.ts";

export interface Advance {
  /** The newest position. */
  readonly position: number;
  /** How many were given; they end with `position`. */
  readonly count: number;
  /** The database is another one than before (restore, failover, upgrade), and numbering was resumed in it. */
  readonly moved?: true;
}

/** How far positions jump when the database was restored: more than a backup can be behind. */
const GAP = 1_000_000;

/**
 * Numbers what was committed, up to `limit` rows. Only one process does it at a time; others change nothing.
 *
 * @returns undefined when there was nothing to number
 */
export async function advancePositions(database: Database, limit = 2_000): Promise<Advance | undefined> {
  type Row = { newest: string | null; given: string; moved: boolean };
  const { rows } = await execute<Row>(
    database.pool,
    "SELECT newest, given, moved FROM advance_positions($1)",
    [limit],
    "events.advance",
  );
  const row = rows[0];
  if (row?.moved === true) return resumePositions(database);
  if (row === undefined || row.given === "0") return undefined;
  return { position: Number(row.newest), count: Number(row.given) };
}

/** Reads the whole log once, so it may take minutes; intake waits meanwhile. */
async function resumePositions(database: Database): Promise<Advance> {
  await using upkeep = database.forLongWork();
  const { rows } = await upkeep.query<{ newest: string; given: string }>(
    "SELECT newest, given FROM resume_positions($1)",
    [GAP],
  );
  return { position: Number(rows[0]?.newest ?? 0), count: Number(rows[0]?.given ?? 0), moved: true };
}

/** The newest position given so far; 0 when there is none. */
export async function lastPosition(database: Database): Promise<number> {
  const { rows } = await database.query<{ position: string }>("SELECT position FROM sequencer");
  return Number(rows[0]?.position ?? 0);
}

/** Which workspaces have events with positions in (after, upTo]; one short look at an index of new rows. */
export async function workspacesBetween(
  database: Database,
  after: number,
  upTo: number,
): Promise<readonly string[]> {
  const { rows } = await execute<{ workspace_id: string }>(
    database.pool,
    "SELECT DISTINCT workspace_id FROM event_positions WHERE position > $1 AND position <= $2",
    [after, upTo],
    "events.workspaces",
  );
  return rows.map((row) => row.workspace_id);
}
