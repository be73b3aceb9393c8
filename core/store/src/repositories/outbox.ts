/**
 * The outbox: intents whose turn may still come. In a lane (one conversation of one identity) only the lowest
 * ordinal may be out, so nothing overtakes.
 */
import { type Queryable, execute, run, sqlFor } from "../database.ts";
import type { Intent } from "./intents.ts";

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
           OR (h.published_at < now() - make_interval(secs => $3 / 1000.0)
               AND EXISTS (SELECT 1 FROM intents i WHERE i.id = h.intent_id
                              AND i.updated_at < now() - make_interval(secs => $3 / 1000.0)))
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

/** When the next waiting head becomes due, for the pump's wake-up. */
export async function nextDue(on: Queryable): Promise<Date | undefined> {
  const { rows } = await execute<{ due: Date | null }>(
    on,
    "SELECT min(due_at) AS due FROM outbox WHERE published_at IS NULL AND due_at > now()",
  );
  return rows[0]?.due ?? undefined;
}
