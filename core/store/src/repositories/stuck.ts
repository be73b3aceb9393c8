/** Messages that a core process tries again and again, alone, and which of them an operator gave up. */
import { type Queryable, execute, run, runFirst, sqlFor } from "../database.ts";
import { sql } from "kysely";
import type { WorkerName } from "./worker-leases.ts";

export interface StuckName {
  readonly queue: string;
  readonly messageId: string;
}

export interface StuckReport extends StuckName {
  readonly failures: number;
  readonly forMs: number;
  readonly code: string;
}

/** A row that its process did not report again for this long no longer counts. */
const STALE = sql<Date>`now() - interval '15 seconds'`;
const MAX_FAILURES = 2_147_483_647;

/**
 * Replaces what this process reported before. A decision to give up stays for an hour, so that it also holds for
 * the process that the message moves to.
 *
 * @returns those that an operator gave up
 */
export async function reportStuck(
  on: Queryable,
  { namespace, worker }: WorkerName,
  found: readonly StuckReport[],
): Promise<StuckName[]> {
  const { rows } = await execute<{ queue: string; message_id: string; given_up: boolean }>(
    on,
    `WITH found AS (
       SELECT * FROM unnest($3::text[], $4::text[], $5::integer[], $6::float8[], $7::text[])
         AS f (queue, message_id, failures, for_ms, code)
     ), gone AS (
       DELETE FROM stuck_messages s WHERE namespace = $1
          AND NOT EXISTS (SELECT 1 FROM found f WHERE f.queue = s.queue AND f.message_id = s.message_id)
          AND (seen_at < now() - interval '1 hour' OR (worker = $2 AND given_up_by IS NULL))
     )
     INSERT INTO stuck_messages AS s (namespace, worker, queue, message_id, failures, since, code)
     SELECT $1, $2, queue, message_id, failures, now() - make_interval(secs => for_ms / 1000.0), code FROM found
     ON CONFLICT (namespace, queue, message_id) DO UPDATE SET
       worker = excluded.worker, failures = excluded.failures, since = excluded.since, code = excluded.code,
       seen_at = now()
     RETURNING queue, message_id, given_up_by IS NOT NULL AS given_up`,
    [
      namespace,
      worker,
      found.map(({ queue }) => queue),
      found.map(({ messageId }) => messageId),
      found.map(({ failures }) => Math.min(failures, MAX_FAILURES)),
      found.map(({ forMs }) => forMs),
      found.map(({ code }) => code),
    ],
  );
  return rows
    .filter(({ given_up }) => given_up)
    .map(({ queue, message_id }) => ({ queue, messageId: message_id }));
}

/** Messages that a live process reports as stuck now, the longest first. */
export function stuckMessages(on: Queryable, namespace: string, limit: number) {
  return run(
    on,
    sqlFor
      .selectFrom("stuck_messages")
      .select(["queue", "message_id", "failures", "since", "code", "given_up_by"])
      .where("namespace", "=", namespace)
      .where("seen_at", ">", STALE)
      .orderBy("since")
      .limit(limit),
  );
}

/** @returns the row, or undefined when no process reports such a message now */
export function markGivenUp(on: Queryable, namespace: string, name: StuckName, actor: string) {
  return runFirst(
    on,
    sqlFor
      .updateTable("stuck_messages")
      .set({ given_up_by: actor })
      .where("namespace", "=", namespace)
      .where("queue", "=", name.queue)
      .where("message_id", "=", name.messageId)
      .where("seen_at", ">", STALE)
      .returning(["queue", "message_id", "failures", "since", "code", "given_up_by"]),
  );
}

export async function forgetStuck(on: Queryable, namespace: string, name: StuckName): Promise<void> {
  await run(
    on,
    sqlFor
      .deleteFrom("stuck_messages")
      .where("namespace", "=", namespace)
      .where("queue", "=", name.queue)
      .where("message_id", "=", name.messageId),
  );
}
