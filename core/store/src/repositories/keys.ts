/** Public keys of the core, daemons and backends, and the one-time tokens that enrol them. */
import type { KeyRecord } from "@linkspan/envelopes";
import { sql } from "kysely";
import { type Queryable, execute, run, runFirst, sqlFor } from "../database.ts";

export interface KeySet {
  /** As {@link keysVersion}: grows with each change, in the order of commits. */
  readonly version: number;
  readonly records: KeyRecord[];
}

export async function keySet(on: Queryable): Promise<KeySet> {
  const { rows } = await execute<{ version: string; records: KeyRecord[] }>(
    on,
    `SELECT version, (SELECT coalesce(jsonb_agg(record ORDER BY created_at), '[]') FROM key_records) AS records
       FROM key_changes`,
  );
  return { version: Number(rows[0]?.version ?? 0), records: rows[0]?.records ?? [] };
}

export async function keyRecords(on: Queryable): Promise<KeyRecord[]> {
  return (await keySet(on)).records;
}

/** Processes compare this before they read all records. It costs one row, however many keys there are. */
export async function keysVersion(on: Queryable): Promise<number> {
  const { rows } = await execute<{ version: string }>(
    on,
    "SELECT version FROM key_changes",
    [],
    "keys.version",
  );
  return Number(rows[0]?.version ?? 0);
}

export interface ListedKey {
  readonly record: KeyRecord;
  readonly created_at: Date;
}

/** Oldest first. @param after kid of the last one of the page before */
export async function listKeys(
  on: Queryable,
  page: { readonly after?: string; readonly limit: number },
): Promise<ListedKey[]> {
  const { rows } = await execute<ListedKey>(
    on,
    `SELECT record, created_at FROM key_records
      WHERE $1::text IS NULL OR (created_at, kid) > (SELECT created_at, kid FROM key_records WHERE kid = $1)
      ORDER BY created_at, kid LIMIT $2`,
    [page.after ?? null, page.limit],
  );
  return rows;
}

/** A record that is known is replaced, but one that was revoked stays revoked. */
export async function saveKeyRecord(on: Queryable, record: KeyRecord): Promise<void> {
  await execute(
    on,
    `INSERT INTO key_records AS k (kid, record) VALUES ($1, $2)
     ON CONFLICT (kid) DO UPDATE SET changed_at = clock_timestamp(),
       record = excluded.record || CASE WHEN k.record ? 'revoked_at'
         THEN jsonb_build_object('revoked_at', k.record->'revoked_at') ELSE '{}' END`,
    [record.kid, JSON.stringify(record)],
  );
}

/** Locked, so that it changes in one transaction at a time. */
export async function lockKeyRecord(on: Queryable, kid: string): Promise<KeyRecord | undefined> {
  const { rows } = await execute<{ record: KeyRecord }>(
    on,
    "SELECT record FROM key_records WHERE kid = $1 FOR UPDATE",
    [kid],
  );
  return rows[0]?.record;
}

/** Its instance is free at once: nobody sends with that key any more. */
export async function releaseLeasesOf(on: Queryable, kid: string): Promise<void> {
  await execute(on, "UPDATE instance_leases SET expires_at = now() WHERE kid = $1 AND expires_at > now()", [
    kid,
  ]);
}

export interface Enrolment {
  readonly issuers: string[];
  readonly services: string[];
  readonly workspaces: string[];
  /** Key that ends when the new one is registered. */
  readonly replaces: string | null;
  /** How long the replaced key stays good beside the new one, seconds. */
  readonly grace_s: number;
}

const ENROLMENT = ["issuers", "services", "workspaces", "replaces", "grace_s"] as const;

export async function insertEnrolment(
  on: Queryable,
  tokenHash: Uint8Array,
  enrolment: Omit<Enrolment, "replaces" | "grace_s"> & Partial<Enrolment>,
  expiresAt: Date,
): Promise<void> {
  await run(
    on,
    sqlFor
      .insertInto("enrolments")
      .values({ token_hash: Buffer.from(tokenHash), ...enrolment, expires_at: expiresAt, used_at: null }),
  );
}

/** Whether a one-time token is good now; nothing is spent. */
export async function isEnrolmentOpen(on: Queryable, tokenHash: Uint8Array): Promise<boolean> {
  const { rows } = await execute(
    on,
    "SELECT 1 FROM enrolments WHERE token_hash = $1 AND used_at IS NULL AND expires_at > now()",
    [Buffer.from(tokenHash)],
  );
  return rows.length === 1;
}

/** Spends a one-time token. @returns what it allows, or undefined when it is unknown, spent or too old */
export function spendEnrolment(on: Queryable, tokenHash: Uint8Array): Promise<Enrolment | undefined> {
  return runFirst(
    on,
    sqlFor
      .updateTable("enrolments")
      .set({ used_at: sql<Date>`now()` })
      .where("token_hash", "=", Buffer.from(tokenHash))
      .where("used_at", "is", null)
      .where("expires_at", ">", sql<Date>`now()`)
      .returning(ENROLMENT),
  );
}
