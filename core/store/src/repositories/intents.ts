/**
 * Intents and the outbox.
 *
 * An intent is one thing to say. Its row holds where it stands; `intent_steps` how it got there. While its
 * turn may still come it has an outbox row; in a lane (one conversation of one identity) only the lowest
 * ordinal may be out, so nothing overtakes.
 */
import { sql } from "kysely";
import { type Queryable, execute, run, runFirst, sqlFor } from "../database.ts";
import type { IntentState } from "../tables.ts";

export interface Intent {
  readonly id: string;
  readonly ordinal: string;
  readonly workspace_id: string;
  readonly user_id: string;
  readonly identity_id: string;
  readonly service: string;
  readonly action: string;
  readonly conversation: string | null;
  readonly payload: Record<string, unknown>;
  readonly content: Uint8Array;
  readonly trace_id: string;
  readonly state: IntentState;
  readonly code: string | null;
  readonly detail: string | null;
  /** Publishes so far; the number a daemon must name to be heard. */
  readonly attempt: number;
  /** First part never confirmed. */
  readonly part: number;
  readonly parts: number | null;
  readonly remote_ids: string[];
  readonly ask_id: string | null;
  readonly ask_epoch: string | null;
  readonly go_until: Date | null;
  readonly created_at: Date;
  readonly updated_at: Date;
  readonly expires_at: Date | null;
}

export interface NewIntent {
  readonly id: string;
  readonly workspaceId: string;
  readonly userId: string;
  readonly identityId: string;
  readonly service: string;
  readonly action: string;
  readonly conversation: string | undefined;
  readonly payload: Record<string, unknown>;
  /** SHA-256 of what the idempotency key stands for; 32 bytes. */
  readonly content: Uint8Array;
  readonly idempotencyKey: string;
  readonly traceId: string;
  readonly expiresAt: Date | undefined;
}

/** @returns the new row, or undefined when this id was recorded before */
export function insertIntent(on: Queryable, intent: NewIntent): Promise<Intent | undefined> {
  return runFirst(
    on,
    sqlFor
      .insertInto("intents")
      .values({
        id: intent.id,
        workspace_id: intent.workspaceId,
        user_id: intent.userId,
        identity_id: intent.identityId,
        service: intent.service,
        action: intent.action,
        conversation: intent.conversation ?? null,
        payload: JSON.stringify(intent.payload),
        content: Buffer.from(intent.content),
        idempotency_key: intent.idempotencyKey,
        trace_id: intent.traceId,
        state: "recorded",
        expires_at: intent.expiresAt ?? null,
      })
      .onConflict((conflict) => conflict.column("id").doNothing())
      .returningAll(),
  );
}

export function intentById(on: Queryable, id: string): Promise<Intent | undefined> {
  return runFirst(on, sqlFor.selectFrom("intents").selectAll().where("id", "=", id));
}

/** Takes the row lock; decisions about one intent are serial. */
export function lockIntent(on: Queryable, id: string): Promise<Intent | undefined> {
  return runFirst(on, sqlFor.selectFrom("intents").selectAll().where("id", "=", id).forUpdate());
}

export function listIntents(
  on: Queryable,
  filter: {
    readonly workspaceId: string;
    readonly state?: IntentState;
    readonly limit: number;
    readonly before?: string;
  },
): Promise<Intent[]> {
  let query = sqlFor
    .selectFrom("intents")
    .selectAll()
    .where("workspace_id", "=", filter.workspaceId)
    .orderBy("ordinal", "desc")
    .limit(filter.limit);
  if (filter.state !== undefined) query = query.where("state", "=", filter.state);
  if (filter.before !== undefined) query = query.where("ordinal", "<", filter.before);
  return run(on, query);
}

export interface IntentChange {
  readonly state: IntentState;
  readonly code?: string | null;
  readonly detail?: string | null;
  readonly part?: number;
  readonly parts?: number | null;
  readonly remoteIds?: readonly string[];
  readonly askId?: string | null;
  readonly askEpoch?: number | null;
  readonly goUntil?: Date | null;
  readonly decision?: Record<string, unknown>;
}

/** Moves an intent and writes the step, in the caller's transaction. */
export async function moveIntent(on: Queryable, id: string, change: IntentChange): Promise<void> {
  const rows = await run(
    on,
    sqlFor
      .updateTable("intents")
      .set({
        state: change.state,
        updated_at: sql<Date>`now()`,
        ...(change.code !== undefined && { code: change.code }),
        ...(change.detail !== undefined && { detail: change.detail }),
        ...(change.part !== undefined && { part: change.part }),
        ...(change.parts !== undefined && { parts: change.parts }),
        ...(change.remoteIds !== undefined && { remote_ids: [...change.remoteIds] }),
        ...(change.askId !== undefined && { ask_id: change.askId }),
        ...(change.askEpoch !== undefined && { ask_epoch: change.askEpoch?.toString() ?? null }),
        ...(change.goUntil !== undefined && { go_until: change.goUntil }),
        ...(change.decision !== undefined && { decision: JSON.stringify(change.decision) }),
      })
      .where("id", "=", id)
      .returning(["attempt", "part"]),
  );
  await run(
    on,
    sqlFor.insertInto("intent_steps").values({
      intent_id: id,
      state: change.state,
      attempt: rows[0]?.attempt ?? 0,
      part: rows[0]?.part ?? null,
      code: change.code ?? null,
      detail: change.detail ?? null,
    }),
  );
}

export function stepsOf(on: Queryable, intentId: string) {
  return run(
    on,
    sqlFor
      .selectFrom("intent_steps")
      .select(["at", "state", "attempt", "part", "code", "detail"])
      .where("intent_id", "=", intentId)
      .orderBy("at"),
  );
}

export interface OutboxRow {
  readonly intentId: string;
  readonly service: string;
  readonly instance: string;
  readonly identityId: string;
  readonly lane: string;
  readonly ordinal: string;
}

export async function enqueue(on: Queryable, row: OutboxRow): Promise<void> {
  await run(
    on,
    sqlFor.insertInto("outbox").values({
      intent_id: row.intentId,
      service: row.service,
      instance: row.instance,
      identity_id: row.identityId,
      lane: row.lane,
      ordinal: row.ordinal,
      published_at: null,
      published_epoch: null,
    }),
  );
}

/** The intent is settled: its lane moves on. */
export async function dequeue(on: Queryable, intentId: string): Promise<void> {
  await run(on, sqlFor.deleteFrom("outbox").where("intent_id", "=", intentId));
}

/** Not now: the lane waits until `dueAt`. */
export async function postpone(on: Queryable, intentId: string, dueAt: Date): Promise<void> {
  await run(
    on,
    sqlFor
      .updateTable("outbox")
      .set({ due_at: dueAt, published_at: null, published_epoch: null })
      .where("intent_id", "=", intentId),
  );
}

/** An intent whose turn it is, claimed for publishing. */
export interface Turn {
  readonly intent: Intent;
  readonly instance: string;
  /** Lease epoch of the instance's holder when it was claimed. */
  readonly epoch: number;
  /** Key of that holder. */
  readonly kid: string;
}

/**
 * Claims heads of lanes that may be published now, and counts the attempt.
 *
 * A head is eligible when its instance has a holder and it is either due and not out, or out under a
 * holder that is gone, or out for longer than `overdueMs` without a word. `credit` bounds how many of one
 * identity are out together. Several processes may call it at once: a row is claimed by one, because the
 * lock re-reads `published_at`.
 */
export async function claimTurns(
  on: Queryable,
  options: {
    readonly limit: number;
    readonly credit: number;
    readonly overdueMs: number;
    readonly identityId?: string;
  },
): Promise<Turn[]> {
  const { rows } = await execute<Intent & { instance: string; published_epoch: string; kid: string }>(
    on,
    `WITH RECURSIVE lanes AS (
       (SELECT identity_id, lane FROM outbox
         WHERE $4::text IS NULL OR identity_id = $4 ORDER BY identity_id, lane LIMIT 1)
       UNION ALL
       SELECT next.identity_id, next.lane FROM lanes, LATERAL (
         SELECT identity_id, lane FROM outbox o
          WHERE (o.identity_id, o.lane) > (lanes.identity_id, lanes.lane)
            AND ($4::text IS NULL OR o.identity_id = $4)
          ORDER BY identity_id, lane LIMIT 1) next
     ), heads AS (
       SELECT head.*, l.epoch, l.kid FROM lanes
         CROSS JOIN LATERAL (
           SELECT * FROM outbox o WHERE o.identity_id = lanes.identity_id AND o.lane = lanes.lane
            ORDER BY o.ordinal LIMIT 1) head
         JOIN instance_leases l ON l.service = head.service AND l.instance = head.instance AND l.expires_at > now()
     ), out_now AS (
       SELECT identity_id, count(*) AS n FROM heads
        WHERE published_at IS NOT NULL AND published_epoch = epoch GROUP BY identity_id
     ), eligible AS (
       SELECT h.intent_id, h.epoch, h.kid, h.published_at,
              row_number() OVER (PARTITION BY h.identity_id ORDER BY h.ordinal) + coalesce(o.n, 0) AS place
         FROM heads h LEFT JOIN out_now o USING (identity_id)
        WHERE (h.published_at IS NULL AND h.due_at <= now())
           OR (h.published_at IS NOT NULL AND h.published_epoch <> h.epoch)
           OR (h.published_at < now() - make_interval(secs => $3 / 1000.0))
     ), claimed AS (
       SELECT o.intent_id, e.epoch, e.kid FROM eligible e JOIN outbox o USING (intent_id)
        WHERE e.place <= $2 AND o.published_at IS NOT DISTINCT FROM e.published_at
        ORDER BY o.ordinal LIMIT $1 FOR UPDATE OF o SKIP LOCKED
     ), stamped AS (
       UPDATE outbox o SET published_at = now(), published_epoch = c.epoch
         FROM claimed c WHERE o.intent_id = c.intent_id
       RETURNING o.intent_id, o.instance, o.published_epoch, c.kid
     )
     UPDATE intents i SET attempt = attempt + 1
       FROM stamped s WHERE i.id = s.intent_id
     RETURNING i.*, s.instance, s.published_epoch, s.kid`,
    [options.limit, options.credit, options.overdueMs, options.identityId ?? null],
    "outbox.claim",
  );
  return rows
    .map(({ instance, published_epoch, kid, ...intent }) => ({
      intent,
      instance,
      epoch: Number(published_epoch),
      kid,
    }))
    .sort((a, b) => Number(BigInt(a.intent.ordinal) - BigInt(b.intent.ordinal)));
}

/** Intents that are past their time and were not attempted. */
export function expiredIntents(on: Queryable, limit: number): Promise<{ id: string }[]> {
  return run(
    on,
    sqlFor
      .selectFrom("intents")
      .select("id")
      .where("state", "in", ["recorded", "held", "queued"])
      .where("expires_at", "<=", sql<Date>`now()`)
      .limit(limit),
  );
}

/** Intents of one identity that are not settled, locked. */
export function lockUnsettledIntents(
  on: Queryable,
  identityId: string,
): Promise<{ readonly id: string; readonly state: IntentState }[]> {
  return run(
    on,
    sqlFor
      .selectFrom("intents")
      .select(["id", "state"])
      .where("identity_id", "=", identityId)
      .where("state", "in", ["recorded", "held", "queued", "attempting"])
      .forUpdate(),
  );
}

/** When the next waiting head becomes due, for the pump's wake-up. */
export async function nextDue(on: Queryable): Promise<Date | undefined> {
  const { rows } = await execute<{ due: Date | null }>(
    on,
    "SELECT min(due_at) AS due FROM outbox WHERE published_at IS NULL AND due_at > now()",
  );
  return rows[0]?.due ?? undefined;
}
