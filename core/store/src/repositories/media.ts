/**
 * Rows of media: writing → stored → deleting → gone, or writing → deleting → gone.
 *
 * The row is there before the object and goes after it, so that whatever step a process dies at, a sweep finds the
 * object by its row. Only `stored` rows are served. A workspace is charged when a row becomes `stored`, and until it is
 * gone.
 */
import { sql } from "kysely";
import { execute, type Queryable, run, runFirst, sqlFor } from "../database.ts";

export interface StoredMedia {
  readonly object: string;
  readonly workspaceId: string;
  readonly keyVersion: number;
  /** 32 bytes. */
  readonly sha256: Buffer;
  readonly bytes: number;
  readonly mime: string;
  readonly name: string;
  readonly createdAt: Date;
}

export interface MediaQuota {
  readonly bytes: number;
  readonly objects: number;
}

interface Columns {
  object: string;
  workspace_id: string;
  key_version: number;
  sha256: Buffer;
  bytes: string;
  mime: string;
  name: string;
  created_at: Date;
}

const COLUMNS = "object, workspace_id, key_version, sha256, bytes, mime, name, created_at";

export async function beginMedia(
  on: Queryable,
  { object, workspaceId, keyVersion }: Pick<StoredMedia, "object" | "workspaceId" | "keyVersion">,
): Promise<void> {
  const row = { object, workspace_id: workspaceId, key_version: keyVersion, state: "writing" } as const;
  await run(on, sqlFor.insertInto("media").values(row));
}

/** Says that bytes still come. @returns false when it was given up as abandoned */
export async function touchMedia(on: Queryable, object: string): Promise<boolean> {
  const touched = await run(
    on,
    sqlFor
      .updateTable("media")
      .set({ used_at: sql<Date>`now()` })
      .where("object", "=", object)
      .where("state", "=", "writing")
      .returning("object"),
  );
  return touched.length > 0;
}

/**
 * Makes an object that is written the media of its hash, within the quota. Where the workspace has these bytes already,
 * nothing changes except the time of their last use.
 *
 * @param on a transaction; it must be rolled back unless the outcome is `kept` or `known`
 * @returns `full`: above the quota; `lost`: the row was given up as abandoned
 */
export async function keepMedia(
  on: Queryable,
  media: Pick<StoredMedia, "object" | "workspaceId" | "sha256" | "bytes" | "mime" | "name">,
  quota: MediaQuota,
): Promise<
  { readonly outcome: "kept" | "known"; readonly media: StoredMedia } | { readonly outcome: "full" | "lost" }
> {
  const { object, workspaceId, sha256, bytes, mime, name } = media;
  await lockUsage(on, workspaceId);
  const { rows } = await execute<Columns & { outcome: "kept" | "known" }>(
    on,
    `WITH known AS (
       UPDATE media SET used_at = now() WHERE workspace_id = $2 AND sha256 = $3 AND state = 'stored'
       RETURNING ${COLUMNS}
     ), charged AS (
       UPDATE media_usage SET bytes = bytes + $4, objects = objects + 1
        WHERE workspace_id = $2 AND bytes + $4 <= $7 AND objects < $8 AND NOT EXISTS (SELECT FROM known)
       RETURNING 1
     ), kept AS (
       UPDATE media SET state = 'stored', sha256 = $3, bytes = $4, mime = $5, name = $6, used_at = now()
        WHERE object = $1 AND state = 'writing' AND EXISTS (SELECT FROM charged)
       RETURNING ${COLUMNS}
     )
     SELECT 'known' AS outcome, * FROM known UNION ALL SELECT 'kept', * FROM kept`,
    [object, workspaceId, sha256, bytes, mime, name, quota.bytes, quota.objects],
    "media.keep",
  );
  const [row] = rows;
  if (row !== undefined) return { outcome: row.outcome, media: mediaOf(row) };
  return { outcome: (await touchMedia(on, object)) ? "full" : "lost" };
}

export async function mediaByHash(
  on: Queryable,
  workspaceId: string,
  sha256: Uint8Array,
): Promise<StoredMedia | undefined> {
  const { rows } = await execute<Columns>(
    on,
    `SELECT ${COLUMNS} FROM media WHERE workspace_id = $1 AND sha256 = $2 AND state = 'stored'`,
    [workspaceId, sha256],
    "media.read",
  );
  return rows[0] && mediaOf(rows[0]);
}

/** From now on it is not served; its object may be deleted. */
export async function dropMedia(on: Queryable, object: string): Promise<void> {
  await run(on, sqlFor.updateTable("media").set({ state: "deleting" }).where("object", "=", object));
}

/**
 * Marks what is too old.
 *
 * @param before by state: when it was last used
 * @returns how many, at most `limit`
 */
export async function dropAgedMedia(
  on: Queryable,
  state: "writing" | "stored",
  before: Date,
  limit: number,
): Promise<number> {
  const { rowCount } = await execute(
    on,
    `UPDATE media SET state = 'deleting' WHERE object = ANY (ARRAY(
       SELECT object FROM media WHERE state = $1 AND used_at < $2 ORDER BY used_at LIMIT $3 FOR UPDATE SKIP LOCKED))`,
    [state, before, limit],
  );
  return rowCount ?? 0;
}

/** Marked objects, in the order of their names. */
export function droppedMedia(on: Queryable, after: string, limit: number) {
  return run(
    on,
    sqlFor
      .selectFrom("media")
      .select(["object", "workspace_id"])
      .where("state", "=", "deleting")
      .where("object", ">", after)
      .orderBy("object")
      .limit(limit),
  );
}

/** Removes the row of an object that is deleted, and what it was charged. @param on a transaction */
export async function forgetMedia(on: Queryable, workspaceId: string, object: string): Promise<void> {
  await lockUsage(on, workspaceId);
  await execute(
    on,
    `WITH gone AS (
       DELETE FROM media WHERE object = $2 AND workspace_id = $1 AND state = 'deleting' RETURNING bytes
     )
     UPDATE media_usage u SET bytes = u.bytes - gone.bytes, objects = u.objects - 1
       FROM gone WHERE u.workspace_id = $1 AND gone.bytes IS NOT NULL`,
    [workspaceId, object],
  );
}

export async function mediaUsage(on: Queryable, workspaceId: string): Promise<MediaQuota> {
  const query = sqlFor.selectFrom("media_usage").selectAll().where("workspace_id", "=", workspaceId);
  const row = await runFirst(on, query);
  return { bytes: Number(row?.bytes ?? 0), objects: Number(row?.objects ?? 0) };
}

/** Those who charge or release wait for each other, per workspace. */
async function lockUsage(on: Queryable, workspaceId: string): Promise<void> {
  await execute(
    on,
    `INSERT INTO media_usage (workspace_id, bytes, objects) VALUES ($1, 0, 0)
     ON CONFLICT (workspace_id) DO UPDATE SET bytes = media_usage.bytes`,
    [workspaceId],
    "media.lock",
  );
}

function mediaOf(row: Columns): StoredMedia {
  return {
    object: row.object,
    workspaceId: row.workspace_id,
    keyVersion: row.key_version,
    sha256: row.sha256,
    bytes: Number(row.bytes),
    mime: row.mime,
    name: row.name,
    createdAt: row.created_at,
  };
}
