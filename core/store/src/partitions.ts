/**
 * Monthly partitions of bodies and histories: made two months ahead, dropped whole when they are older
 * than the retention. Inbox keys are not among them; they are kept for good.
 */
import { type Database, execute } from "./database.ts";

const PARTITIONED = ["events", "intent_steps", "audit_entries"] as const;
type Partitioned = (typeof PARTITIONED)[number];

/** Makes the partitions that hold `now` and the two months after it. Repeating it changes nothing. */
export async function ensurePartitions(database: Database, now: Date): Promise<void> {
  await database.transaction(async (client) => {
    await execute(client, "SELECT pg_advisory_xact_lock(hashtext('linkspan.partitions'))");
    for (const table of PARTITIONED) {
      for (const offset of [0, 1, 2]) {
        const from = monthStart(now, offset);
        const to = monthStart(now, offset + 1);
        await execute(
          client,
          `CREATE TABLE IF NOT EXISTS ${nameOf(table, from)} PARTITION OF ${table}
             FOR VALUES FROM ('${from.toISOString()}') TO ('${to.toISOString()}')`,
        );
      }
    }
  });
}

/**
 * Drops months that ended before `before`.
 *
 * @returns names of the dropped partitions
 */
export async function dropPartitions(
  database: Database,
  table: Partitioned,
  before: Date,
): Promise<string[]> {
  const { rows } = await database.query<{ name: string }>(
    "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::regclass",
    [table],
  );
  const oldest = nameOf(table, monthStart(before, 0));
  const expired = rows.map((row) => row.name).filter((name) => name < oldest);
  for (const name of expired) await database.query(`DROP TABLE ${name}`);
  return expired;
}

function monthStart(at: Date, offset: number): Date {
  return new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + offset, 1));
}

function nameOf(table: Partitioned, month: Date): string {
  return `${table}_${month.toISOString().slice(0, 7).replace("-", "_")}`;
}
