/** Instance leases: one process holds an instance, under an epoch that grows with each change of holder. */
import { type Queryable, execute } from "../database.ts";

export type LeaseAnswer =
  | { readonly state: "held"; readonly epoch: number; readonly changed: boolean }
  | { readonly state: "taken"; readonly retryAfterMs: number };

export interface LeaseClaim {
  readonly service: string;
  readonly instance: string;
  /** Boot id of the process. */
  readonly holder: string;
  /** Key it signs with; what tickets for it are bound to. */
  readonly kid: string;
  readonly ttlMs: number;
}

/** Takes a free or run-out lease, or renews one's own. */
export async function claimLease(on: Queryable, claim: LeaseClaim): Promise<LeaseAnswer> {
  const taken = await execute<{ epoch: string; changed: boolean }>(
    on,
    `INSERT INTO instance_leases AS l (service, instance, holder, kid, epoch, expires_at)
     VALUES ($1, $2, $3, $5, 1, now() + make_interval(secs => $4 / 1000.0))
     ON CONFLICT (service, instance) DO UPDATE
        SET epoch = l.epoch + (l.holder <> excluded.holder)::int, holder = excluded.holder,
            kid = excluded.kid, expires_at = excluded.expires_at
      WHERE l.holder = excluded.holder OR l.expires_at <= now()
     RETURNING epoch, xmax = 0 OR epoch <> (SELECT epoch FROM instance_leases WHERE service = $1 AND instance = $2) AS changed`,
    [claim.service, claim.instance, claim.holder, claim.ttlMs, claim.kid],
  );
  const row = taken.rows[0];
  if (row !== undefined) return { state: "held", epoch: Number(row.epoch), changed: row.changed };
  const { rows } = await execute<{ ms: number }>(
    on,
    `SELECT greatest(0, extract(epoch FROM expires_at - now()) * 1000)::int AS ms
       FROM instance_leases WHERE service = $1 AND instance = $2`,
    [claim.service, claim.instance],
  );
  return { state: "taken", retryAfterMs: rows[0]?.ms ?? 0 };
}

/** Gives a lease back, so that the next holder need not wait. Ignored when somebody else holds it. */
export async function releaseLease(on: Queryable, claim: Omit<LeaseClaim, "ttlMs" | "kid">): Promise<void> {
  await execute(
    on,
    "UPDATE instance_leases SET expires_at = now() WHERE service = $1 AND instance = $2 AND holder = $3",
    [claim.service, claim.instance, claim.holder],
  );
}

export interface Lease {
  readonly service: string;
  readonly instance: string;
  readonly holder: string;
  readonly kid: string;
  readonly epoch: number;
  readonly live: boolean;
}

export async function currentLease(
  on: Queryable,
  service: string,
  instance: string,
): Promise<Lease | undefined> {
  const { rows } = await execute<{ holder: string; kid: string; epoch: string; live: boolean }>(
    on,
    `SELECT holder, kid, epoch, expires_at > now() AS live FROM instance_leases WHERE service = $1 AND instance = $2`,
    [service, instance],
    "leases.current",
  );
  const row = rows[0];
  return (
    row && { service, instance, holder: row.holder, kid: row.kid, epoch: Number(row.epoch), live: row.live }
  );
}
