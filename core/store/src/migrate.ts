/** Brings the schema to the newest version; safe to run from several processes at once. */
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { Kysely, PostgresDialect, sql } from "kysely";
import { type Migration, Migrator } from "kysely/migration";
import type { Database } from "./database.ts";
import { ensurePartitions } from "./partitions.ts";

const FOLDER = new URL("./migrations/", import.meta.url);
/** A migration that does not get its locks, because of a backup or another process that migrates, is tried again. */
const PATIENCE_MS = 600_000;
const AGAIN_MS = 250;
const LOCK_NOT_AVAILABLE = "55P03";

/**
 * @param options `upTo`: the last migration's name, for a schema as an older version left it
 * @throws the first failing migration's error; nothing of that migration stays
 */
export async function migrate(database: Database, { upTo }: { readonly upTo?: string } = {}): Promise<void> {
  await using upkeep = database.forLongWork();
  const migrator = new Migrator({
    db: new Kysely({ dialect: new PostgresDialect({ pool: upkeep.pool }) }),
    provider: { getMigrations: readMigrations },
  });
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const { error } = await (upTo === undefined ? migrator.migrateToLatest() : migrator.migrateTo(upTo));
    if (error === undefined) break;
    if (!waitsForALock(error) || performance.now() > deadline) {
      throw error instanceof Error ? error : new Error("a migration failed", { cause: error });
    }
    await delay(AGAIN_MS);
  }
  await ensurePartitions(database, new Date());
}

function waitsForALock(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === LOCK_NOT_AVAILABLE;
}

async function readMigrations(): Promise<Record<string, Migration>> {
  const names = (await readdir(FOLDER)).filter((name) => name.endsWith(".sql")).sort();
  const entries = names.map(async (name): Promise<[string, Migration]> => {
    const text = await readFile(new URL(name, FOLDER), "utf8");
    return [name, { up: async (db) => void (await sql.raw(text).execute(db)) }];
  });
  return Object.fromEntries(await Promise.all(entries));
}
