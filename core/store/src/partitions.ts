/**
 * Monthly partitions of bodies and histories: made months ahead, dropped whole when they are older than the
 * retention. Inbox keys are not among them; they are kept for good.
 *
 * Neither making nor dropping waits for a reader while it holds a lock that intake needs: a month is attached
 * and detached under locks that reading and writing do not mind, and what cannot be had within two seconds
 * (a backup is running) is tried again at the next sweep. Months are there long before they are needed.
 */
import { type FabricError, isFabricError } from "@linkspan/envelopes";
import { type Database, execute } from "./database.ts";

const PARTITIONED = ["events", "intent_steps", "audit_entries"] as const;
export type Partitioned = (typeof PARTITIONED)[number];

/** Beside the current one. */
const MONTHS_AHEAD = 4;

/**
 * Makes the months around `now` and around the database's own time, which stamps the rows.
 *
 * @returns names of the partitions that were made
 * @throws FabricError `store.unavailable` when one could not be made now; the others were
 */
export async function ensurePartitions(database: Database, now: Date): Promise<string[]> {
  const wanted = await missingPartitions(database, now);
  if (wanted.length === 0) return [];
  await using upkeep = database.forLongWork();
  return await untilDone(wanted, async ({ table, from, name }) => {
    const to = monthStart(from, 1);
    await upkeep.transaction(async (client) => {
      await execute(client, "SELECT pg_advisory_xact_lock(hashtext('linkspan.partitions'))");
      const { rows } = await execute(client, "SELECT 1 WHERE to_regclass($1) IS NOT NULL", [name]);
      if (rows.length > 0) return;
      await execute(client, `CREATE TABLE ${name} (LIKE ${table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)`);
      await execute(
        client,
        `ALTER TABLE ${table} ATTACH PARTITION ${name}
           FOR VALUES FROM ('${from.toISOString()}') TO ('${to.toISOString()}')`,
      );
    });
    return name;
  });
}

/**
 * Drops months that ended before `before`.
 *
 * @returns names of the dropped partitions
 * @throws FabricError `store.unavailable` when one could not be dropped now; the others were
 */
export async function dropPartitions(
  database: Database,
  table: Partitioned,
  before: Date,
): Promise<string[]> {
  const oldest = nameOf(table, monthStart(before, 0));
  // Only one of a table can be half detached: it goes first.
  const expired = (await partitionsOf(database, table))
    .filter(({ name }) => name < oldest)
    .toSorted((a, b) => Number(b.attached === "pending") - Number(a.attached === "pending"));
  if (expired.length === 0) return [];
  await using upkeep = database.forLongWork();
  return await untilDone(expired, async ({ name, attached }) => {
    if (attached === "pending") await upkeep.query(`ALTER TABLE ${table} DETACH PARTITION ${name} FINALIZE`);
    else if (attached === "yes")
      await upkeep.query(`ALTER TABLE ${table} DETACH PARTITION ${name} CONCURRENTLY`);
    await upkeep.query(`DROP TABLE IF EXISTS ${name}`);
    return name;
  });
}

/** When the oldest month that is kept begins; undefined when there is none. */
export async function oldestMonth(database: Database, table: Partitioned): Promise<Date | undefined> {
  const [oldest] = (await partitionsOf(database, table)).map(({ name }) => name).toSorted();
  if (oldest === undefined) return undefined;
  return new Date(`${oldest.slice(table.length + 1).replace("_", "-")}-01T00:00:00Z`);
}

interface Wanted {
  readonly table: Partitioned;
  readonly from: Date;
  readonly name: string;
}

async function missingPartitions(database: Database, now: Date): Promise<Wanted[]> {
  const { rows } = await database.query<{ now: Date }>("SELECT now()");
  const months = new Map<number, Date>();
  for (const at of [now, rows[0]?.now ?? now]) {
    for (let offset = 0; offset <= MONTHS_AHEAD; offset++) {
      const month = monthStart(at, offset);
      months.set(month.getTime(), month);
    }
  }
  const wanted = PARTITIONED.flatMap((table) =>
    [...months.values()].map((from) => ({ table, from, name: nameOf(table, from) })),
  );
  const { rows: known } = await database.query<{ name: string }>(
    "SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NOT NULL",
    [wanted.map(({ name }) => name)],
  );
  const there = new Set(known.map(({ name }) => name));
  return wanted.filter(({ name }) => !there.has(name));
}

/** Also tables that were detached and not dropped yet. */
async function partitionsOf(
  database: Database,
  table: Partitioned,
): Promise<{ readonly name: string; readonly attached: "yes" | "pending" | "no" }[]> {
  const { rows } = await database.query<{ name: string; attached: "yes" | "pending" | "no" }>(
    `SELECT c.relname AS name,
            CASE WHEN i.inhrelid IS NULL THEN 'no' WHEN i.inhdetachpending THEN 'pending' ELSE 'yes' END AS attached
       FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
      WHERE c.relkind = 'r' AND c.relname ~ ('^' || $1 || '_[0-9]{4}_[0-9]{2}$')
        AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = $1::regclass)`,
    [table],
  );
  return rows;
}

/** Does each, also after one failed. @throws the first failure, when all were tried */
async function untilDone<T>(items: readonly T[], work: (item: T) => Promise<string>): Promise<string[]> {
  const done: string[] = [];
  let failure: FabricError | undefined;
  for (const item of items) {
    try {
      done.push(await work(item));
    } catch (error) {
      if (!isFabricError(error)) throw error;
      failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
  return done;
}

function monthStart(at: Date, offset: number): Date {
  return new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + offset, 1));
}

function nameOf(table: Partitioned, month: Date): string {
  return `${table}_${month.toISOString().slice(0, 7).replace("-", "_")}`;
}
