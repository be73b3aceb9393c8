/**
 * Whose turn it is: heads of lanes that may be published now. What it costs follows what it claims, not what waits.
 *
 * The statement reads, per live instance, the first entries of an index of due times. Of those it claims what has
 * credit and parks what has none, so that a parked lane is not read again before a head of its identity ends.
 * Claims are serial across processes, which makes the count of what an identity has out exact.
 */
import { type Database, type Queryable, execute } from "../database.ts";
import type { Intent } from "./intents.ts";

/** An intent whose turn it is, claimed for publishing. */
export interface Turn {
  readonly intent: Intent;
  readonly instance: string;
  /** Lease epoch of the instance's holder when it was claimed. */
  readonly epoch: number;
  /** Key of that holder. */
  readonly kid: string;
  /** Size of the payload. */
  readonly bytes: number;
}

export interface ClaimOptions {
  /** Turns at once; part of the statement's name, so use few values. */
  readonly limit: number;
  /** Heads of one identity that may be out together. */
  readonly credit: number;
  /** A head that is out is claimed again when there was no report of it for this long. */
  readonly overdueMs: number;
  /** Payloads at once; the first is claimed whatever its size. Default 16 MiB. */
  readonly maxBytes?: number;
  /** Instances that get nothing now, each as `<service> <instance>`. */
  readonly except?: readonly string[];
}

/**
 * Claims heads of lanes that may be published now, and counts the attempt.
 *
 * A head is claimed when its instance has a holder and it is either due and its identity has credit, or out under
 * a holder that is gone, or out and overdue. The latter two hold their credit already.
 *
 * @returns in the order of recording; empty, too, while another process claims
 */
export function claimTurns(database: Database, options: ClaimOptions): Promise<Turn[]> {
  const { credit, overdueMs, maxBytes = 16 * 1_048_576, except = [] } = options;
  const limit = Math.trunc(options.limit);
  return database.transaction(async (client) => {
    if (!(await claimAlone(client))) return [];
    const { rows } = await execute<
      Intent & { claimed_at: string; claimed_epoch: string; claimed_kid: string; claimed_bytes: number }
    >(client, claimStatement(limit), [credit, overdueMs, maxBytes, except], `outbox.claim.${limit}`);
    return rows
      .map(({ claimed_at, claimed_epoch, claimed_kid, claimed_bytes, ...intent }) => ({
        intent,
        instance: claimed_at,
        epoch: Number(claimed_epoch),
        kid: claimed_kid,
        bytes: claimed_bytes,
      }))
      .sort((a, b) => Number(BigInt(a.intent.ordinal) - BigInt(b.intent.ordinal)));
  });
}

/**
 * Begins a claim in a transaction. @returns false while another process claims
 *
 * A process that stops in the middle holds up the others for five seconds at most. A plan that reads a whole table
 * may look cheap while the table is small, and is kept when it grows; so such plans are made dear, and the compiler
 * that dear plans call for is kept away.
 */
export async function claimAlone(on: Queryable): Promise<boolean> {
  const { rows } = await execute<{ alone: boolean }>(
    on,
    `SELECT pg_try_advisory_xact_lock(hashtextextended('linkspan.outbox.claim', 0)) AS alone,
            set_config('idle_in_transaction_session_timeout', '5000', true),
            set_config('statement_timeout', '5000', true), set_config('enable_seqscan', 'off', true),
            set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
            set_config('enable_bitmapscan', 'off', true), set_config('jit', 'off', true)`,
    [],
    "outbox.alone",
  );
  return rows[0]?.alone === true;
}

const NOT_IN = "l.service || ' ' || l.instance <> ALL";

/** A report that is so far ahead was made before the database's clock was set back. */
const CLOCK_WENT_BACK = "interval '10 seconds'";

/**
 * $1 credit, $2 overdue after milliseconds, $3 bytes, $4 instances that are left out. The limit is written out: as a parameter it would let the
 * planner expect a tenth of the table and read all of it.
 */
export function claimStatement(limit: number): string {
  return `WITH head AS MATERIALIZED (
      SELECT h.*, l.epoch, l.kid FROM instance_leases l CROSS JOIN LATERAL (
        (SELECT identity_id, lane, due_at FROM lanes
          WHERE service = l.service AND instance = l.instance AND NOT parked AND due_at <= now()
          ORDER BY due_at LIMIT ${limit})
        UNION
        (SELECT identity_id, lane, due_at FROM lanes
          WHERE service = l.service AND instance = l.instance AND published_at IS NOT NULL
            AND published_epoch < l.epoch LIMIT ${limit})
      ) h WHERE l.expires_at > now() AND ${NOT_IN} ($4::text[]) ORDER BY h.due_at LIMIT ${limit}
    ), locked AS MATERIALIZED (
      SELECT l.*, h.epoch, h.kid, i.updated_at FROM head h
        JOIN lanes l ON l.identity_id = h.identity_id AND l.lane = h.lane AND l.due_at = h.due_at AND NOT l.parked
        JOIN intents i ON i.id = l.intent_id
         FOR NO KEY UPDATE OF l, i SKIP LOCKED
    ), used AS MATERIALIZED (
      SELECT identity_id, (SELECT count(*) FROM lanes o
               WHERE o.identity_id = w.identity_id AND o.published_at IS NOT NULL) AS n
        FROM (SELECT DISTINCT identity_id FROM locked WHERE published_at IS NULL) w
    ), waiting AS (
      SELECT locked.*, used.n + row_number() OVER (PARTITION BY identity_id ORDER BY due_at, lane) AS place
        FROM locked JOIN used USING (identity_id) WHERE published_at IS NULL
    ), fit AS (
      SELECT identity_id, lane, intent_id, instance, bytes, due_at, epoch, kid FROM waiting WHERE place <= $1::int
      UNION ALL
      SELECT identity_id, lane, intent_id, instance, bytes, due_at, epoch, kid FROM locked
       WHERE published_at IS NOT NULL
         AND (published_epoch <> epoch OR updated_at <= now() - make_interval(secs => $2::int / 1000.0)
              OR updated_at > now() + ${CLOCK_WENT_BACK})
    ), taken AS MATERIALIZED (
      SELECT * FROM (
        SELECT fit.*, sum(bytes) OVER (ORDER BY due_at, identity_id, lane) - bytes AS before FROM fit) f
       WHERE before < $3::bigint
    ), heard AS (
      UPDATE lanes l SET due_at = k.updated_at + make_interval(secs => $2::int / 1000.0) FROM locked k
       WHERE l.identity_id = k.identity_id AND l.lane = k.lane AND k.published_epoch = k.epoch
         AND k.updated_at > now() - make_interval(secs => $2::int / 1000.0)
         AND k.updated_at <= now() + ${CLOCK_WENT_BACK}
    ), held AS MATERIALIZED (
      SELECT o.identity_id FROM (SELECT DISTINCT identity_id FROM waiting WHERE place > $1::int) w
       CROSS JOIN LATERAL (
         SELECT identity_id FROM lanes WHERE identity_id = w.identity_id AND published_at IS NOT NULL
            FOR NO KEY UPDATE SKIP LOCKED) o
    ), parked AS (
      UPDATE lanes l SET parked = true FROM waiting w
       WHERE l.identity_id = w.identity_id AND l.lane = w.lane AND w.place > $1::int
         AND (SELECT count(*) FROM held WHERE held.identity_id = w.identity_id)
           = (SELECT n FROM used WHERE used.identity_id = w.identity_id)
    ), stamped AS (
      UPDATE lanes l SET published_at = now(), published_epoch = t.epoch,
             due_at = now() + make_interval(secs => $2::int / 1000.0)
        FROM taken t WHERE l.identity_id = t.identity_id AND l.lane = t.lane
    )
    UPDATE intents i SET attempt = attempt + 1 FROM taken t WHERE i.id = t.intent_id
    RETURNING i.*, t.instance AS claimed_at, t.epoch AS claimed_epoch, t.kid AS claimed_kid, t.bytes AS claimed_bytes`;
}

/**
 * @param except instances that are left out, each as `<service> <instance>`
 * @returns milliseconds until a head is due at an instance that somebody holds; 0 when one is; undefined for none
 */
export async function msUntilDue(on: Queryable, except: readonly string[] = []): Promise<number | undefined> {
  const { rows } = await execute<{ ms: number | null }>(
    on,
    `SELECT (extract(epoch FROM min(d.due_at) - now()) * 1000)::float8 AS ms
       FROM instance_leases l CROSS JOIN LATERAL (
         (SELECT due_at FROM lanes WHERE service = l.service AND instance = l.instance AND NOT parked
           ORDER BY due_at LIMIT 1)
         UNION ALL
         (SELECT now() FROM lanes WHERE service = l.service AND instance = l.instance AND published_at IS NOT NULL
             AND published_epoch < l.epoch LIMIT 1)
       ) d WHERE l.expires_at > now() AND ${NOT_IN} ($1::text[])`,
    [except],
    "outbox.due",
  );
  const ms = rows[0]?.ms ?? undefined;
  return ms === undefined ? undefined : Math.max(0, ms);
}
