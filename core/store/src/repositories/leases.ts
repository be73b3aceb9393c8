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
  /** How long it may stay on its platform, unheard; absent: no longer than `ttlMs`. */
  readonly stayMs?: number;
}

/**
 * Takes a free or run-out lease, or renews one's own.
 *
 * After its first end a lease is still kept for its holder until the second one, unless the holder had every chance to
 * renew it: others who asked for it were answered all the while, for as long as a lease lasts and without a pause
 * longer than half of that. So an outage of the broker or of the core takes no lease from anybody, and a holder that
 * was killed is followed as soon as its lease has run out.
 *
 * When the database's clock was set back, a lease of before would seem to last for as long as it went back. Who asks
 * for it in vain cuts it to one lease from now; a holder that lives renews it before that.
 */
export async function claimLease(on: Queryable, claim: LeaseClaim): Promise<LeaseAnswer> {
  const taken = await execute<{ epoch: string; changed: boolean }>(
    on,
    `INSERT INTO instance_leases AS l (service, instance, holder, kid, epoch, expires_at, stay_until)
     VALUES ($1, $2, $3, $5, 1, now() + make_interval(secs => $4 / 1000.0),
             coalesce(now() + make_interval(secs => $6 / 1000.0), '-infinity'))
     ON CONFLICT (service, instance) DO UPDATE
        SET epoch = l.epoch + (l.holder <> excluded.holder)::int, holder = excluded.holder,
            kid = excluded.kid, expires_at = excluded.expires_at, stay_until = excluded.stay_until,
            heard_since = NULL, heard_at = NULL
      WHERE l.holder = excluded.holder OR l.kid = '${UNSIGNED_KID}'
         OR (l.expires_at <= now()
             AND (l.stay_until <= now()
                  OR (l.heard_since <= now() - make_interval(secs => $4 / 1000.0)
                      AND l.heard_at > now() - make_interval(secs => $4 / 2000.0))))
     RETURNING epoch, xmax = 0 OR epoch <> (SELECT epoch FROM instance_leases WHERE service = $1 AND instance = $2) AS changed`,
    [claim.service, claim.instance, claim.holder, claim.ttlMs, claim.kid, claim.stayMs ?? null],
  );
  const row = taken.rows[0];
  if (row !== undefined) return { state: "held", epoch: Number(row.epoch), changed: row.changed };
  const { rows } = await execute<{ ms: number }>(
    on,
    `UPDATE instance_leases
        SET heard_since = CASE WHEN heard_at > now() - make_interval(secs => $4 / 2000.0)
                                AND heard_since <= now() THEN heard_since ELSE now() END,
            heard_at = now(),
            expires_at = least(expires_at, now() + make_interval(secs => $4 / 1000.0)),
            stay_until = CASE WHEN expires_at > now() + make_interval(secs => $4 / 1000.0)
                              THEN least(stay_until, now() + make_interval(secs => $5 / 1000.0)) ELSE stay_until END
      WHERE service = $1 AND instance = $2 AND holder <> $3
     RETURNING greatest(0, extract(epoch FROM expires_at - now()) * 1000)::int AS ms`,
    [claim.service, claim.instance, claim.holder, claim.ttlMs, claim.stayMs ?? claim.ttlMs],
  );
  return { state: "taken", retryAfterMs: Math.max(rows[0]?.ms ?? 0, LEAST_PAUSE_MS) };
}

/** Key of a holder that has none: of no key in the world is it the thumbprint. */
export const UNSIGNED_KID = "A".repeat(43);
const UNSIGNED_HOLDER = "unsigned";

/**
 * On a development namespace: an unsigned daemon that has sent something holds its instance, unless somebody with a key does.
 * Whoever asks with a key takes it over at once.
 *
 * @returns whether it has just begun to
 */
export async function holdUnsigned(
  on: Queryable,
  { service, instance }: Pick<Lease, "service" | "instance">,
  ttlMs: number,
): Promise<boolean> {
  const { rows } = await execute<{ changed: boolean }>(
    on,
    `INSERT INTO instance_leases AS l (service, instance, holder, kid, epoch, expires_at, stay_until)
     VALUES ($1, $2, $3, $4, 1, now() + make_interval(secs => $5 / 1000.0), '-infinity')
     ON CONFLICT (service, instance) DO UPDATE
        SET epoch = l.epoch + (l.holder <> excluded.holder)::int, holder = excluded.holder, kid = excluded.kid,
            expires_at = excluded.expires_at, stay_until = excluded.stay_until, heard_since = NULL, heard_at = NULL
      WHERE l.holder = excluded.holder OR (l.expires_at <= now() AND l.stay_until <= now())
     RETURNING xmax = 0 OR epoch <> (SELECT epoch FROM instance_leases WHERE service = $1 AND instance = $2) AS changed`,
    [service, instance, UNSIGNED_HOLDER, UNSIGNED_KID, ttlMs],
  );
  return rows[0]?.changed ?? false;
}

/** Between two questions of who waits. */
const LEAST_PAUSE_MS = 500;

/** Gives a lease back, so that the next holder need not wait. Ignored when somebody else holds it. */
export async function releaseLease(on: Queryable, claim: Omit<LeaseClaim, "ttlMs" | "kid">): Promise<void> {
  await execute(
    on,
    `UPDATE instance_leases SET expires_at = now(), stay_until = '-infinity'
      WHERE service = $1 AND instance = $2 AND holder = $3`,
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
  const [lease] = await currentLeases(on, [{ service, instance }]);
  return lease;
}

/** Those of the instances that have or had a holder, in one statement. */
export async function currentLeases(
  on: Queryable,
  instances: readonly Pick<Lease, "service" | "instance">[],
): Promise<Lease[]> {
  const { rows } = await execute<Omit<Lease, "epoch"> & { epoch: string }>(
    on,
    `SELECT service, instance, holder, kid, epoch, expires_at > now() AS live
       FROM unnest($1::text[], $2::text[]) AS t (service, instance) JOIN instance_leases USING (service, instance)`,
    [instances.map(({ service }) => service), instances.map(({ instance }) => instance)],
    "leases.current",
  );
  return rows.map((row) => ({ ...row, epoch: Number(row.epoch) }));
}
