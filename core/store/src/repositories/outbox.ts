/**
 * The outbox: intents whose turn may still come, in the order of their lanes. A lane is one conversation of one
 * identity. Its head, the only intent of it that may be out, is a row of `lanes`; the rows of `outbox` are the
 * head and what waits behind it.
 *
 *   waiting → out → gone, and the next intent is the head
 *      ↑       ↓
 *      └── postponed        parked: the identity has no credit left; it waits until one of its heads ends
 *
 * Who changes a lane locks its row first: appending, ending and claiming are serial per lane. Every call takes
 * many at once.
 */
import { type Queryable, execute } from "../database.ts";

/** The place of an intent; `insertDecided` appends it to its lane. */
export interface OutboxRow {
  readonly intentId: string;
  readonly service: string;
  readonly instance: string;
  readonly identityId: string;
  /** Conversation; empty for what belongs to none. */
  readonly lane: string;
  /** Size of the payload. */
  readonly bytes: number;
}

/** An intent that must wait: its lane is due again after so long, by the database's clock. */
export interface Postponed {
  readonly intentId: string;
  readonly waitMs: number;
}

/**
 * Applies the results of intents that were out. Those that ended leave their lanes, which move on; those that are put off keep
 * their lanes waiting and free their identities' credit meanwhile. What is not in the outbox is ignored. All the
 * lanes are locked first, in one order.
 */
export async function settleLanes(
  on: Queryable,
  { ended, postponed }: { readonly ended: readonly string[]; readonly postponed: readonly Postponed[] },
): Promise<void> {
  if (ended.length === 0 && postponed.length === 0) return;
  await lockLanesOf(on, [...ended, ...postponed.map(({ intentId }) => intentId)]);
  if (ended.length > 0) await moveOn(on, ended);
  if (postponed.length > 0) await putOff(on, postponed);
}

/** The intents are settled. */
export function dequeue(on: Queryable, intentIds: readonly string[]): Promise<void> {
  return settleLanes(on, { ended: intentIds, postponed: [] });
}

/** Not now: the lanes whose heads these are wait for so long. */
export function postpone(on: Queryable, intentIds: readonly string[], waitMs: number): Promise<void> {
  return settleLanes(on, { ended: [], postponed: intentIds.map((intentId) => ({ intentId, waitMs })) });
}

/**
 * Lanes whose head ended advance first, and only then are the free places given out: in one statement a lane could be
 * both advanced and unparked, and PostgreSQL would do only one of these.
 */
async function moveOn(on: Queryable, intentIds: readonly string[]): Promise<void> {
  const { rows } = await execute<{ identity_id: string; places: number }>(
    on,
    `WITH gone AS (
       DELETE FROM outbox WHERE intent_id = ANY ($1::text[]) RETURNING identity_id, lane, intent_id, ordinal
     ), ended AS (
       SELECT l.identity_id, l.lane, l.parked, next.intent_id, next.bytes FROM gone
         JOIN lanes l USING (identity_id, lane, intent_id)
         LEFT JOIN LATERAL (
           SELECT o.intent_id, o.bytes FROM outbox o
            WHERE o.identity_id = l.identity_id AND o.lane = l.lane AND o.ordinal > gone.ordinal
              AND o.intent_id <> ALL ($1::text[])
            ORDER BY o.ordinal LIMIT 1) next ON true
     ), advanced AS (
       UPDATE lanes l SET intent_id = e.intent_id, bytes = e.bytes, due_at = now(),
              published_at = NULL, published_epoch = NULL, parked = true
         FROM ended e
        WHERE l.identity_id = e.identity_id AND l.lane = e.lane AND e.intent_id IS NOT NULL
     ), drained AS (
       DELETE FROM lanes l USING ended e
        WHERE l.identity_id = e.identity_id AND l.lane = e.lane AND e.intent_id IS NULL
     )
     SELECT identity_id, count(*)::int AS places FROM ended WHERE NOT parked GROUP BY identity_id`,
    [intentIds],
    "outbox.dequeue",
  );
  if (rows.length === 0) return;
  await execute(
    on,
    `WITH freed AS (
       SELECT * FROM unnest($1::text[], $2::int[]) AS t (identity_id, places)
     ), ${CHOSEN}
     ${UNPARK}`,
    [rows.map(({ identity_id }) => identity_id), rows.map(({ places }) => places)],
    "outbox.free",
  );
}

async function putOff(on: Queryable, postponed: readonly Postponed[]): Promise<void> {
  await execute(
    on,
    `WITH ended AS (
       UPDATE lanes l SET due_at = now() + make_interval(secs => given.wait_ms / 1000),
              published_at = NULL, published_epoch = NULL
         FROM unnest($1::text[], $2::float8[]) AS given (intent_id, wait_ms) JOIN outbox o USING (intent_id)
        WHERE l.identity_id = o.identity_id AND l.lane = o.lane
          AND l.intent_id = o.intent_id AND NOT l.parked
       RETURNING l.identity_id
     ), freed AS (
       SELECT identity_id, count(*) AS places FROM ended GROUP BY identity_id
     ), ${CHOSEN}
     ${UNPARK}`,
    [postponed.map(({ intentId }) => intentId), postponed.map(({ waitMs }) => waitMs)],
    "outbox.postpone",
  );
}

/** Of each identity in `freed (identity_id, places)`, as many parked lanes: the oldest that nobody else works on. */
const CHOSEN = `chosen AS MATERIALIZED (
       SELECT p.identity_id, p.lane FROM freed f CROSS JOIN LATERAL (
         SELECT identity_id, lane FROM lanes w WHERE w.identity_id = f.identity_id AND w.parked
          ORDER BY due_at LIMIT f.places FOR UPDATE SKIP LOCKED) p
     )`;

const UNPARK = `UPDATE lanes l SET parked = false FROM chosen c
      WHERE l.identity_id = c.identity_id AND l.lane = c.lane`;

/** A statement of its own: the next one must see what was appended until the lock was granted. */
async function lockLanesOf(on: Queryable, intentIds: readonly string[]): Promise<void> {
  await execute(
    on,
    `SELECT 1 FROM lanes l JOIN outbox o USING (identity_id, lane) WHERE o.intent_id = ANY ($1::text[])
      ORDER BY l.identity_id, l.lane FOR UPDATE OF l`,
    [intentIds],
    "outbox.lock",
  );
}

/**
 * Lets parked lanes wait again where credit is free: for the case that no end of another lane did so, because
 * the parked row was locked at that moment. Costs as much as there are identities with parked lanes.
 *
 * @returns how many lanes
 */
export async function unparkStranded(on: Queryable, credit: number): Promise<number> {
  const { rowCount } = await execute(
    on,
    `WITH RECURSIVE stuck AS (
       (SELECT identity_id FROM lanes WHERE parked ORDER BY identity_id LIMIT 1)
       UNION ALL
       SELECT (SELECT identity_id FROM lanes n WHERE n.parked AND n.identity_id > stuck.identity_id
                ORDER BY identity_id LIMIT 1)
         FROM stuck WHERE stuck.identity_id IS NOT NULL
     ), freed AS (
       SELECT identity_id, $1::int - used.n AS places FROM stuck CROSS JOIN LATERAL (
         SELECT count(*)::int AS n FROM lanes o
          WHERE o.identity_id = stuck.identity_id AND o.published_at IS NOT NULL) used
        WHERE identity_id IS NOT NULL AND used.n < $1::int
     ), ${CHOSEN}
     ${UNPARK}`,
    [credit],
    "outbox.unpark",
  );
  return rowCount ?? 0;
}

/**
 * After the database's clock was set back, what was stamped before seems due as much later. Makes due what nobody
 * asked to put off that long: heads that were never published, heads that are out, and what was put off by the clock
 * of before. A step of less than the overdue time mends itself. Looks at the 2,000 heads of each instance that are put
 * off longest.
 *
 * @returns how many lanes
 */
export async function mendDueTimes(on: Queryable, overdueMs: number): Promise<number> {
  const { rowCount } = await execute(
    on,
    `WITH late AS (
       SELECT w.identity_id, w.lane FROM instance_leases l CROSS JOIN LATERAL (
         SELECT identity_id, lane, intent_id, published_at FROM lanes
          WHERE service = l.service AND instance = l.instance AND NOT parked
            AND due_at > now() + make_interval(secs => $1::int / 1000.0) + interval '10 seconds'
          ORDER BY due_at DESC LIMIT 2000) w
         JOIN intents i ON i.id = w.intent_id
        WHERE l.expires_at > now()
          AND (w.published_at IS NOT NULL OR i.attempt = 0 OR i.updated_at > now() + interval '10 seconds')
        LIMIT 1000
     )
     UPDATE lanes n SET due_at = now() FROM late
      WHERE n.identity_id = late.identity_id AND n.lane = late.lane`,
    [overdueMs],
    "outbox.mend",
  );
  return rowCount ?? 0;
}
