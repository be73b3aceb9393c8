/** Which account's events of a shared conversation are fanned out, and which copies wait. */
import { type Queryable, execute } from "../database.ts";

export interface ConversationKey {
  readonly workspaceId: string;
  readonly ref: string;
}

export interface Sighting extends ConversationKey {
  readonly service: string;
  readonly account: string;
}

export interface ConversationReader extends ConversationKey {
  readonly reader: string;
  /** More than one account sees it. */
  readonly shared: boolean;
  /** Kinds of events whose remote ids are the same for all accounts. */
  readonly stableKinds: readonly string[];
}

/** Reads without a lock; unknown conversations are left out. */
export function readersOf(on: Queryable, keys: readonly ConversationKey[]): Promise<ConversationReader[]> {
  return conversations(on, keys, "", "readers.read");
}

/**
 * The same, locked until the transaction ends, in one order; unknown ones are made, read by the account that
 * is named first.
 */
export async function lockReaders(
  on: Queryable,
  sightings: readonly Sighting[],
): Promise<ConversationReader[]> {
  await execute(
    on,
    `INSERT INTO conversations (workspace_id, ref, service, reader)
     SELECT workspace_id, ref, service, account
       FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY
         AS t (workspace_id, ref, service, account, place)
      ORDER BY place
     ON CONFLICT (workspace_id, ref) DO NOTHING`,
    [
      sightings.map((seen) => seen.workspaceId),
      sightings.map((seen) => seen.ref),
      sightings.map((seen) => seen.service),
      sightings.map((seen) => seen.account),
    ],
    "readers.make",
  );
  return conversations(on, sightings, "ORDER BY c.workspace_id, c.ref FOR UPDATE OF c", "readers.lock");
}

async function conversations(
  on: Queryable,
  keys: readonly ConversationKey[],
  ending: string,
  name: string,
): Promise<ConversationReader[]> {
  if (keys.length === 0) return [];
  const { rows } = await execute<{
    workspace_id: string;
    ref: string;
    reader: string;
    shared: boolean;
    stable_kinds: string[];
  }>(
    on,
    `SELECT c.workspace_id, c.ref, c.reader, c.shared, c.stable_kinds
       FROM conversations c
      WHERE (c.workspace_id, c.ref) IN (SELECT * FROM unnest($1::text[], $2::text[])) ${ending}`,
    [keys.map((key) => key.workspaceId), keys.map((key) => key.ref)],
    name,
  );
  return rows.map((row) => ({
    workspaceId: row.workspace_id,
    ref: row.ref,
    reader: row.reader,
    shared: row.shared,
    stableKinds: row.stable_kinds,
  }));
}

export async function saveReaders(on: Queryable, changed: readonly ConversationReader[]): Promise<void> {
  if (changed.length === 0) return;
  await execute(
    on,
    `UPDATE conversations c SET reader = t.reader, shared = t.shared, stable_kinds = string_to_array(t.kinds, ',')
       FROM unnest($1::text[], $2::text[], $3::text[], $4::bool[], $5::text[]) AS t (workspace_id, ref, reader, shared, kinds)
      WHERE c.workspace_id = t.workspace_id AND c.ref = t.ref`,
    [
      changed.map((one) => one.workspaceId),
      changed.map((one) => one.ref),
      changed.map((one) => one.reader),
      changed.map((one) => one.shared),
      changed.map((one) => one.stableKinds.join(",")),
    ],
    "readers.save",
  );
}

export interface Hearing extends ConversationKey {
  readonly account: string;
  /** Linked, connected, and its instance is held. */
  readonly connected: boolean;
  readonly unlinked: boolean;
  /** When it left the conversation; undefined while it is in it, as far as is known. */
  readonly absentSince: Date | undefined;
}

/** States in which an account receives messages. */
const UP = ["connected", "backfilling", "running"];

/** Whether accounts receive a conversation; one row for each that is known. */
export async function hearingOf(
  on: Queryable,
  asked: readonly (ConversationKey & { readonly account: string })[],
): Promise<Hearing[]> {
  if (asked.length === 0) return [];
  const { rows } = await execute<{
    workspace_id: string;
    ref: string;
    account: string;
    connected: boolean;
    unlinked: boolean;
    since: Date | null;
  }>(
    on,
    `SELECT t.workspace_id, t.ref, t.account, a.since, i.state = 'unlinked' AS unlinked,
            i.state = 'linked' AND i.bridge_state = ANY($4) AND EXISTS (
              SELECT 1 FROM instance_leases l
               WHERE l.service = i.service AND l.instance = i.instance AND l.expires_at > now()) AS connected
       FROM unnest($1::text[], $2::text[], $3::text[]) AS t (workspace_id, ref, account)
       JOIN identities i ON i.id = t.account
       LEFT JOIN conversation_absences a ON a.workspace_id = t.workspace_id AND a.ref = t.ref AND a.account = t.account`,
    [asked.map((one) => one.workspaceId), asked.map((one) => one.ref), asked.map((one) => one.account), UP],
    "readers.hearing",
  );
  return rows.map(({ workspace_id, ref, account, connected, unlinked, since }) => ({
    workspaceId: workspace_id,
    ref,
    account,
    connected,
    unlinked,
    absentSince: since ?? undefined,
  }));
}

export interface Movement extends ConversationKey {
  readonly account: string;
  /** True: it is in the conversation. */
  readonly present: boolean;
  readonly at: Date;
}

/** @param movements at most one for each account and conversation */
export async function saveMovements(on: Queryable, movements: readonly Movement[]): Promise<void> {
  const values = (some: readonly Movement[]) => [
    some.map((one) => one.workspaceId),
    some.map((one) => one.ref),
    some.map((one) => one.account),
  ];
  const left = movements.filter((one) => !one.present);
  const came = movements.filter((one) => one.present);
  if (left.length > 0) {
    await execute(
      on,
      `INSERT INTO conversation_absences (workspace_id, ref, account, since)
       SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[])
       ON CONFLICT (workspace_id, ref, account) DO UPDATE SET since = excluded.since`,
      [...values(left), left.map((one) => one.at)],
      "readers.left",
    );
  }
  if (came.length > 0) {
    await execute(
      on,
      `DELETE FROM conversation_absences
        WHERE (workspace_id, ref, account) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))`,
      values(came),
      "readers.came",
    );
  }
}
