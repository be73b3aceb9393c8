/**
 * Leases on credentials.
 *
 * issued → renewed, up to its longest life → released | expired | revoked (by the core) | superseded (another
 * daemon or a newer epoch checked the credential out). Only an issued lease can be renewed and can write
 * back. The fence grows with each lease of a credential: once a newer lease has written, an older one may not
 * write.
 */
import { FabricError } from "@linkspan/envelopes";

export type LeaseScope = "session" | "send" | "sync";
export type LeaseEnd = "released" | "revoked" | "superseded";

export interface Lease {
  readonly leaseId: string;
  readonly secretId: string;
  readonly workspaceId: string;
  readonly identityId: string;
  /** Issuer string of the daemon that holds it. */
  readonly daemon: string;
  /** Key that the daemon signs with. */
  readonly kid: string;
  /** Epoch of the daemon's instance; 0 if it has none. */
  readonly epoch: number;
  readonly scope: LeaseScope;
  readonly ticketHash: string;
  /** `message_id` of the checkout: the same request gets the same lease. */
  readonly requestId: string;
  readonly fence: number;
  readonly issuedAt: Date;
  readonly expiresAt: Date;
  readonly maxExpiresAt: Date;
  readonly ended: LeaseEnd | undefined;
}

/** Exactly one way to select leases. */
export type LeaseSelection =
  | { readonly leaseId: string }
  | { readonly secretId: string }
  | { readonly workspaceId: string; readonly identityId: string }
  | { readonly daemon: string }
  | { readonly workspaceId: string };

export interface LeaseTerm {
  readonly ttlMs: number;
  /** Longest life, including all renewals. */
  readonly maxMs: number;
}

export type LeaseTerms = Readonly<Record<LeaseScope, LeaseTerm>>;

const MINUTE = 60_000;

export const LEASE_TERMS: LeaseTerms = {
  session: { ttlMs: 10 * MINUTE, maxMs: 12 * 60 * MINUTE },
  send: { ttlMs: MINUTE, maxMs: 5 * MINUTE },
  sync: { ttlMs: 5 * MINUTE, maxMs: 60 * MINUTE },
};

/** The caller of a lease operation, as verified by the signature of its request. */
export interface LeaseHolder {
  readonly daemon: string;
  readonly kid: string;
  readonly workspaceId: string;
  /** Absent: the lease's own. */
  readonly identityId?: string | undefined;
}

/**
 * @param lease undefined when there is none with that id; reported like another daemon's, so that ids cannot
 *   be guessed
 * @throws FabricError `envelope.wrong_issuer`
 */
export function assertHolder(lease: Lease | undefined, holder: LeaseHolder): asserts lease is Lease {
  const holds =
    lease !== undefined &&
    lease.daemon === holder.daemon &&
    lease.kid === holder.kid &&
    lease.workspaceId === holder.workspaceId &&
    (holder.identityId === undefined || lease.identityId === holder.identityId);
  if (!holds) throw new FabricError("envelope.wrong_issuer", "the sender holds no such lease");
}

/** @throws FabricError `vault.revoked`, `vault.lease_expired` */
export function assertInForce(lease: Lease, now: Date): void {
  if (lease.ended === "revoked") throw new FabricError("vault.revoked", "the lease was revoked");
  if (lease.ended !== undefined) throw new FabricError("vault.lease_expired", `the lease was ${lease.ended}`);
  if (lease.expiresAt <= now) throw new FabricError("vault.lease_expired", "the lease ran out");
}

/** The end of a lease that is renewed now. */
export function renewedUntil(lease: Lease, terms: LeaseTerms, now: Date): Date {
  const until = now.getTime() + terms[lease.scope].ttlMs;
  return new Date(Math.min(until, lease.maxExpiresAt.getTime()));
}
