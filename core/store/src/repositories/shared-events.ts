/** Events that several accounts deliver a copy of: who has, whether one was fanned out, and the copies that wait. */
import { type Queryable, execute } from "../database.ts";
import type { EventPlace } from "./events.ts";

export interface SharedEvent {
  /** Absent on a row that is not stored yet. */
  readonly id?: string;
  /** Hash of workspace and conversation; 32 bytes. */
  readonly conversation: Buffer;
  /** Content hash, equal where remote ids are the same for all accounts; 32 bytes. */
  readonly exact: Buffer;
  /** Hash of the content without its remote id; 32 bytes. */
  readonly loose: Buffer;
  readonly sentAt: Date;
  readonly seenBy: readonly string[];
  readonly fannedOut: boolean;
  /** A copy is held. */
  readonly waiting: boolean;
}

/** Rows that one of these contents may be a copy of, oldest first. */
export async function sharedEvents(
  on: Queryable,
  contents: readonly Pick<SharedEvent, "exact" | "loose" | "sentAt">[],
  withinMs: number,
): Promise<SharedEvent[]> {
  if (contents.length === 0) return [];
  const { rows } = await execute<SharedEventRow>(
    on,
    `SELECT s.id, s.conversation, s.exact, s.loose, s.sent_at, s.seen_by, s.fanned_out, s.release_at IS NOT NULL AS waiting FROM shared_events s
      WHERE s.id IN (
        SELECT id FROM shared_events WHERE exact = ANY($1::bytea[])
        UNION
        SELECT e.id FROM unnest($2::bytea[], $3::timestamptz[]) AS t (loose, sent_at)
          JOIN shared_events e ON e.loose = t.loose
           AND e.sent_at BETWEEN t.sent_at - make_interval(secs => $4) AND t.sent_at + make_interval(secs => $4))
      ORDER BY s.id`,
    [
      contents.map((one) => one.exact),
      contents.map((one) => one.loose),
      contents.map((one) => one.sentAt),
      withinMs / 1_000,
    ],
    "shared.find",
  );
  return rows.map((row) => ({
    id: row.id,
    conversation: row.conversation,
    exact: row.exact,
    loose: row.loose,
    sentAt: row.sent_at,
    seenBy: row.seen_by,
    fannedOut: row.fanned_out,
    waiting: row.waiting,
  }));
}

interface SharedEventRow {
  id: string;
  conversation: Buffer;
  exact: Buffer;
  loose: Buffer;
  sent_at: Date;
  seen_by: string[];
  fanned_out: boolean;
  waiting: boolean;
}

/** A row to be kept; `held` is the place of a copy that is released after `holdMs`. */
export interface SharedEventChange {
  readonly event: SharedEvent;
  readonly held: EventPlace | undefined;
}

/** Inserts what has no id yet; updates the others, whose held copies stay as they are until one was fanned out. */
export async function saveSharedEvents(
  on: Queryable,
  changes: readonly SharedEventChange[],
  holdMs: number,
): Promise<void> {
  const fresh = changes.filter(({ event }) => event.id === undefined);
  const known = changes.filter(({ event }) => event.id !== undefined);
  if (fresh.length > 0) {
    await execute(
      on,
      `INSERT INTO shared_events (conversation, exact, loose, sent_at, seen_by, fanned_out,
                                  event_id, event_xid, event_received_at, release_at)
       SELECT conversation, exact, loose, sent_at, ARRAY(SELECT jsonb_array_elements_text(seen_by)), fanned_out,
              event_id, event_xid, event_received_at,
              CASE WHEN event_id IS NOT NULL THEN now() + make_interval(secs => $10) END
         FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::timestamptz[], $5::jsonb[], $6::bool[],
                     $7::bigint[], $8::xid8[], $9::timestamptz[]) WITH ORDINALITY
           AS t (conversation, exact, loose, sent_at, seen_by, fanned_out, event_id, event_xid, event_received_at, place)
        ORDER BY place`,
      [
        fresh.map(({ event }) => event.conversation),
        fresh.map(({ event }) => event.exact),
        fresh.map(({ event }) => event.loose),
        fresh.map(({ event }) => event.sentAt),
        fresh.map(({ event }) => JSON.stringify(event.seenBy)),
        fresh.map(({ event }) => event.fannedOut),
        fresh.map(({ held }) => held?.id ?? null),
        fresh.map(({ held }) => held?.xid ?? null),
        fresh.map(({ held }) => held?.receivedAt ?? null),
        holdMs / 1_000,
      ],
      "shared.insert",
    );
  }
  if (known.length > 0) {
    await execute(
      on,
      `UPDATE shared_events s
          SET seen_by = ARRAY(SELECT jsonb_array_elements_text(t.seen_by)), fanned_out = t.fanned_out,
              release_at = CASE WHEN t.fanned_out THEN NULL ELSE s.release_at END
         FROM unnest($1::bigint[], $2::jsonb[], $3::bool[]) AS t (id, seen_by, fanned_out) WHERE s.id = t.id`,
      [
        known.map(({ event }) => event.id),
        known.map(({ event }) => JSON.stringify(event.seenBy)),
        known.map(({ event }) => event.fannedOut),
      ],
      "shared.update",
    );
  }
}

/** Held copies of conversations whose reader changes. */
export async function heldIn(on: Queryable, conversations: readonly Buffer[]): Promise<string[]> {
  if (conversations.length === 0) return [];
  const { rows } = await execute<{ id: string }>(
    on,
    `SELECT id FROM shared_events WHERE conversation = ANY($1::bytea[]) AND release_at IS NOT NULL ORDER BY id`,
    [conversations],
    "shared.held",
  );
  return rows.map(({ id }) => id);
}

/**
 * Held copies whose time is over, oldest first, locked until the transaction ends. Copies are held for seconds: one
 * that seems to be held for minutes was stored before the database's clock was set back.
 */
export async function dueCopies(on: Queryable, limit: number): Promise<string[]> {
  const { rows } = await execute<{ id: string }>(
    on,
    `SELECT id FROM shared_events WHERE release_at <= now() OR release_at > now() + interval '1 minute'
      ORDER BY release_at, id LIMIT $1 FOR UPDATE SKIP LOCKED`,
    [limit],
    "shared.due",
  );
  return rows.map(({ id }) => id);
}

/**
 * Fans held copies out: each becomes a row of this moment, so that readers who are past its old position find
 * it at a new one. The old position then leads nowhere.
 *
 * @returns how many events are to be given a position
 */
export async function releaseCopies(on: Queryable, ids: readonly string[]): Promise<number> {
  if (ids.length === 0) return 0;
  const { rowCount } = await execute(
    on,
    `WITH due AS (
       UPDATE shared_events SET fanned_out = true, release_at = NULL
        WHERE id = ANY($1::bigint[]) AND release_at IS NOT NULL
       RETURNING event_id, event_xid, event_received_at
     ), old AS (
       DELETE FROM events e USING due
        WHERE e.xid = due.event_xid AND e.id = due.event_id AND e.received_at = due.event_received_at
       RETURNING e.*
     )
     INSERT INTO events (received_at, workspace_id, message_id, leaf, service, account, conversation, fan_out,
                         sender_identity, kid, sig, body, batch_id)
     SELECT now(), workspace_id, message_id, leaf, service, account, conversation, true,
            sender_identity, kid, sig, body, batch_id
       FROM old ORDER BY id`,
    [ids],
    "shared.release",
  );
  return rowCount ?? 0;
}

/** Forgets what was shared longer ago than copies are looked for. @returns how many rows went */
export async function pruneSharedEvents(on: Queryable, days: number, limit: number): Promise<number> {
  const { rowCount } = await execute(
    on,
    `DELETE FROM shared_events WHERE id IN (
       SELECT id FROM shared_events WHERE created_at < now() - make_interval(days => $1) AND release_at IS NULL
        ORDER BY created_at LIMIT $2)`,
    [days, limit],
  );
  return rowCount ?? 0;
}
