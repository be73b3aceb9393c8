import type { Lease, LeaseEnd, LeaseScope, LeaseSelection } from "../leases/leases.ts";
import type { LeaseRows } from "./secret-store.ts";
import type { Transaction } from "./transaction.ts";

interface Columns {
  lease_id: string;
  secret_id: string;
  workspace_id: string;
  identity_id: string;
  daemon: string;
  kid: string;
  epoch: string;
  scope: LeaseScope;
  ticket_hash: string;
  request_id: string;
  fence: string;
  issued_at: Date;
  expires_at: Date;
  max_expires_at: Date;
  ended_why: LeaseEnd | null;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

const SWEEP_AT_ONCE = 10_000;

export class PgLeaseRows implements LeaseRows {
  readonly #tx: Transaction;

  constructor(tx: Transaction) {
    this.#tx = tx;
  }

  async add(lease: Lease): Promise<void> {
    await this.#tx.query(
      `INSERT INTO vault.leases (lease_id, secret_id, workspace_id, identity_id, daemon, kid, epoch, scope,
         ticket_hash, request_id, fence, issued_at, expires_at, max_expires_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
      [
        lease.leaseId,
        lease.secretId,
        lease.workspaceId,
        lease.identityId,
        lease.daemon,
        lease.kid,
        lease.epoch,
        lease.scope,
        lease.ticketHash,
        lease.requestId,
        lease.fence,
        lease.issuedAt,
        lease.expiresAt,
        lease.maxExpiresAt,
      ],
    );
  }

  async find(leaseId: string): Promise<Lease | undefined> {
    return UUID.test(leaseId) ? this.#one("lease_id = $1", leaseId) : undefined;
  }

  byRequest(requestId: string): Promise<Lease | undefined> {
    return this.#one("request_id = $1", requestId);
  }

  async extend(leaseId: string, until: Date, now: Date): Promise<Date | undefined> {
    const { rows } = await this.#tx.query<{ expires_at: Date }>(
      `UPDATE vault.leases SET expires_at = least($2, max_expires_at)
       WHERE lease_id = $1 AND ended_at IS NULL AND expires_at > $3 RETURNING expires_at`,
      [leaseId, until, now],
    );
    return rows[0]?.expires_at;
  }

  async lock(leaseId: string): Promise<Lease | undefined> {
    return UUID.test(leaseId) ? this.#one("lease_id = $1 FOR UPDATE", leaseId) : undefined;
  }

  async end(which: LeaseSelection, why: LeaseEnd, now: Date): Promise<readonly Lease[]> {
    if ("leaseId" in which && !UUID.test(which.leaseId)) return [];
    const { where, values } = conditionOf(which);
    const { rows } = await this.#tx.query<Columns>(
      `UPDATE vault.leases SET ended_at = $1, ended_why = $2
       WHERE ended_at IS NULL AND ${where} RETURNING *`,
      [now, why, ...values],
    );
    return rows.map(leaseOf);
  }

  async supersede(secretId: string, daemon: string, epoch: number, now: Date): Promise<number> {
    const { rowCount } = await this.#tx.query(
      `UPDATE vault.leases SET ended_at = $1, ended_why = 'superseded'
       WHERE ended_at IS NULL AND secret_id = $2 AND (daemon <> $3 OR epoch < $4)`,
      [now, secretId, daemon, epoch],
    );
    return rowCount ?? 0;
  }

  async sweep(before: Date): Promise<number> {
    // An ended lease also expires within its term: one index is enough.
    const { rowCount } = await this.#tx.query(
      `DELETE FROM vault.leases WHERE lease_id = ANY (ARRAY(
         SELECT lease_id FROM vault.leases WHERE expires_at < $1 ORDER BY expires_at LIMIT ${SWEEP_AT_ONCE}))`,
      [before],
    );
    return rowCount ?? 0;
  }

  async #one(where: string, value: string): Promise<Lease | undefined> {
    const { rows } = await this.#tx.query<Columns>(`SELECT * FROM vault.leases WHERE ${where}`, [value]);
    return rows[0] && leaseOf(rows[0]);
  }
}

function conditionOf(which: LeaseSelection): { readonly where: string; readonly values: readonly string[] } {
  if ("leaseId" in which) return { where: "lease_id = $3", values: [which.leaseId] };
  if ("secretId" in which) return { where: "secret_id = $3", values: [which.secretId] };
  if ("daemon" in which) return { where: "daemon = $3", values: [which.daemon] };
  if ("identityId" in which) {
    return { where: "workspace_id = $3 AND identity_id = $4", values: [which.workspaceId, which.identityId] };
  }
  return { where: "workspace_id = $3", values: [which.workspaceId] };
}

function leaseOf(row: Columns): Lease {
  return {
    leaseId: row.lease_id,
    secretId: row.secret_id,
    workspaceId: row.workspace_id,
    identityId: row.identity_id,
    daemon: row.daemon,
    kid: row.kid,
    epoch: Number(row.epoch),
    scope: row.scope,
    ticketHash: row.ticket_hash,
    requestId: row.request_id,
    fence: Number(row.fence),
    issuedAt: row.issued_at,
    expiresAt: row.expires_at,
    maxExpiresAt: row.max_expires_at,
    ended: row.ended_why ?? undefined,
  };
}
