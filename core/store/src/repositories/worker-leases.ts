/**
 * Which core worker is alive, and which partitions each one owns. Times are the database's. When its clock was set
 * back, leases of before would seem to last for as long as it went back: each renewal cuts them to one lease from now.
 */
import { type Queryable, execute } from "../database.ts";

export interface WorkerName {
  readonly namespace: string;
  /** Unique to the process: its boot id. */
  readonly worker: string;
}

/** Rows of workers that ended long ago are removed after this. */
const FORGET_AFTER = "1 hour";

/** Leases of processes with another configured length are not taken for those of another clock. */
const CLOCKS_DIFFER = "10 seconds";

/** Takes or renews a worker's lease. @returns its epoch, which grows each time the lease had run out */
export async function renewWorkerLease(
  on: Queryable,
  { namespace, worker }: WorkerName,
  ttlMs: number,
): Promise<number> {
  const { rows } = await execute<{ epoch: string }>(
    on,
    `WITH forgotten AS (
       DELETE FROM worker_leases
        WHERE namespace = $1 AND worker <> $2 AND expires_at < now() - interval '${FORGET_AFTER}'
     ), cut AS (
       UPDATE worker_leases SET expires_at = now() + make_interval(secs => $3 / 1000.0)
        WHERE namespace = $1 AND worker IN (
          SELECT worker FROM worker_leases
           WHERE namespace = $1 AND worker <> $2
             AND expires_at > now() + make_interval(secs => $3 / 1000.0) + interval '${CLOCKS_DIFFER}'
             FOR UPDATE SKIP LOCKED)
     )
     INSERT INTO worker_leases AS l (namespace, worker, epoch, expires_at)
     VALUES ($1, $2, 1, now() + make_interval(secs => $3 / 1000.0))
     ON CONFLICT (namespace, worker) DO UPDATE
        SET epoch = l.epoch + (l.expires_at <= now())::int, expires_at = excluded.expires_at
     RETURNING epoch`,
    [namespace, worker, ttlMs],
    "worker_leases.renew",
  );
  return Number(rows[0]?.epoch ?? 0);
}

/** Ends a worker's lease, and with it what it owns. */
export async function releaseWorkerLease(on: Queryable, { namespace, worker }: WorkerName): Promise<void> {
  await execute(
    on,
    `WITH released AS (
       UPDATE partition_owners SET owner = NULL WHERE namespace = $1 AND owner = $2
     )
     DELETE FROM worker_leases WHERE namespace = $1 AND worker = $2`,
    [namespace, worker],
  );
}

/** For a process that knows itself to be the only one: nobody who was there before is waited for. */
export async function releaseAllWorkerLeases(on: Queryable, namespace: string): Promise<void> {
  await execute(on, "DELETE FROM worker_leases WHERE namespace = $1", [namespace]);
}

/** Workers with a live lease, in one order for everybody. */
export async function liveWorkers(on: Queryable, namespace: string): Promise<string[]> {
  const { rows } = await execute<{ worker: string }>(
    on,
    "SELECT worker FROM worker_leases WHERE namespace = $1 AND expires_at > now() ORDER BY worker",
    [namespace],
    "worker_leases.live",
  );
  return rows.map(({ worker }) => worker);
}

/** Makes the rows of partitions 0 to `count` - 1; there are no others afterwards. */
export async function ensurePartitionOwners(on: Queryable, namespace: string, count: number): Promise<void> {
  await execute(
    on,
    `WITH surplus AS (DELETE FROM partition_owners WHERE namespace = $1 AND partition >= $2)
     INSERT INTO partition_owners (namespace, partition) SELECT $1, generate_series(0, $2 - 1)
     ON CONFLICT DO NOTHING`,
    [namespace, count],
  );
}

export async function ownedPartitions(on: Queryable, { namespace, worker }: WorkerName): Promise<number[]> {
  const { rows } = await execute<{ partition: number }>(
    on,
    "SELECT partition FROM partition_owners WHERE namespace = $1 AND owner = $2 ORDER BY partition",
    [namespace, worker],
    "partition_owners.owned",
  );
  return rows.map(({ partition }) => partition);
}

/** Takes up to `count` partitions that nobody alive owns. @returns those taken */
export async function claimPartitions(
  on: Queryable,
  { namespace, worker }: WorkerName,
  count: number,
): Promise<number[]> {
  const { rows } = await execute<{ partition: number }>(
    on,
    `UPDATE partition_owners SET owner = $2
      WHERE namespace = $1 AND partition IN (
        SELECT partition FROM partition_owners p
         WHERE namespace = $1 AND (owner IS NULL OR NOT EXISTS (
           SELECT 1 FROM worker_leases l
            WHERE l.namespace = p.namespace AND l.worker = p.owner AND l.expires_at > now()))
         ORDER BY partition LIMIT $3 FOR UPDATE SKIP LOCKED)
     RETURNING partition`,
    [namespace, worker, count],
    "partition_owners.claim",
  );
  return rows.map(({ partition }) => partition).sort((a, b) => a - b);
}

/** Gives partitions back. What somebody else owns by now stays as it is. */
export async function releasePartitions(
  on: Queryable,
  { namespace, worker }: WorkerName,
  partitions: readonly number[],
): Promise<void> {
  await execute(
    on,
    "UPDATE partition_owners SET owner = NULL WHERE namespace = $1 AND owner = $2 AND partition = ANY($3)",
    [namespace, worker, partitions],
    "partition_owners.release",
  );
}

/** Partitions that no live worker owns: nobody takes in what arrives there. */
export async function orphanPartitions(on: Queryable, namespace: string): Promise<number[]> {
  const { rows } = await execute<{ partition: number }>(
    on,
    `SELECT partition FROM partition_owners p
      WHERE namespace = $1 AND NOT EXISTS (
        SELECT 1 FROM worker_leases l
         WHERE l.namespace = p.namespace AND l.worker = p.owner AND l.expires_at > now())
      ORDER BY partition`,
    [namespace],
    "partition_owners.orphans",
  );
  return rows.map(({ partition }) => partition);
}
