/**
 * The credential operations for daemons, after the fabric side has verified the caller: check out, renew,
 * release, write back. Rows are locked in one order (key, head, lease), and nothing is handed out before its
 * audit entry is committed.
 */
import { randomUUID } from "node:crypto";
import { type CredentialFields, FabricError } from "@linkspan/envelopes";
import { type Audit, audited, type VaultAuditEntry } from "../audit.ts";
import type { CredentialVersions } from "../store/credential-versions.ts";
import {
  assertHolder,
  assertInForce,
  type Lease,
  type LeaseHolder,
  type LeaseScope,
  type LeaseTerms,
  renewedUntil,
} from "./leases.ts";
import { Secret } from "../secret.ts";
import type { Head, SecretStore, StoreTransaction } from "../store/secret-store.ts";
import { CREDENTIAL } from "../vault.ts";

export interface CredentialLeasesOptions {
  readonly store: SecretStore;
  readonly versions: CredentialVersions;
  readonly audit: Audit;
  readonly now: () => Date;
  readonly terms: LeaseTerms;
  /** @throws FabricError `vault.sealed` */
  readonly assertOpen: () => void;
}

export interface Checkout {
  /** Verified: audience and key of the ticket, and signer of the request. */
  readonly holder: LeaseHolder & { readonly identityId: string };
  readonly service: string;
  readonly scope: LeaseScope;
  /** Epoch of the daemon's instance; 0 if it has none. */
  readonly epoch: number;
  readonly ticketHash: string;
  /** `message_id` of the request; repeating the request gives the same lease. */
  readonly requestId: string;
  /** True in a link flow: what a person has just handed over is returned with it, once. */
  readonly linking: boolean;
}

export interface CheckedOut<T> {
  readonly leaseId: string;
  readonly ttlMs: number;
  /** 0: there is no credential. */
  readonly version: number;
  /** The result of `seal` for the fields; undefined when there are none. */
  readonly sealed: T | undefined;
}

export interface WriteBack {
  readonly leaseId: string;
  readonly holder: LeaseHolder;
  /** The version that was checked out. */
  readonly version: number;
  readonly requestId: string;
}

export class CredentialLeases {
  readonly #options: CredentialLeasesOptions;

  constructor(options: CredentialLeasesOptions) {
    this.#options = options;
  }

  /**
   * Leases a credential. Leases on it that belong to another daemon or an older epoch end.
   *
   * @param seal seals the fields to their recipient; they are wiped when it has settled
   * @throws FabricError `vault.*`, `envelope.conflict` for a request id that was used for another request, or
   *   what `seal` throws
   */
  async checkOut<T>(
    request: Checkout,
    seal: (lease: Lease, fields: CredentialFields) => Promise<T>,
  ): Promise<CheckedOut<T>> {
    const { store, now: clock, assertOpen } = this.#options;
    assertOpen();
    return store.transaction(async (tx) => {
      const { workspaceId, identityId } = request.holder;
      const head = await tx.secrets.lock({
        workspaceId,
        identityId,
        service: request.service,
        kind: CREDENTIAL,
      });
      const now = clock();
      const lease = await this.#leaseFor(tx, head, request, now);
      using secret = await this.#fieldsFor(tx, head, request, now);
      const sealed = secret.names.length === 0 ? undefined : await seal(lease, secret.reveal());
      const version = head.empty ? 0 : head.version;
      await this.#record(tx, "vault.checkout", lease, {
        scope: lease.scope,
        version,
        ticket_hash: lease.ticketHash,
      });
      return { leaseId: lease.leaseId, ttlMs: lease.expiresAt.getTime() - now.getTime(), version, sealed };
    });
  }

  /**
   * The credential that a lease belongs to. @throws FabricError `envelope.wrong_issuer` for another's lease
   */
  async identityOf(leaseId: string, holder: LeaseHolder): Promise<string> {
    const { store, assertOpen } = this.#options;
    assertOpen();
    const lease = await store.transaction((tx) => tx.leases.find(leaseId));
    assertHolder(lease, holder);
    return lease.identityId;
  }

  /**
   * @returns the new term, milliseconds
   * @throws FabricError `vault.lease_expired`, `vault.revoked`, `envelope.wrong_issuer` for another's lease
   */
  async renew(leaseId: string, holder: LeaseHolder): Promise<number> {
    const { store, now: clock, assertOpen, terms } = this.#options;
    assertOpen();
    return store.transaction(async (tx) => {
      const lease = await tx.leases.lock(leaseId);
      const now = clock();
      assertHolder(lease, holder);
      assertInForce(lease, now);
      const until = await tx.leases.extend(leaseId, renewedUntil(lease, terms, now), now);
      if (until === undefined) throw new FabricError("vault.lease_expired", "the lease ran out");
      return until.getTime() - now.getTime();
    });
  }

  /**
   * Ends a lease; a lease that has already ended is not changed.
   *
   * @param epoch of the holder's instance; an older epoch than the lease's may not end it
   * @throws FabricError `envelope.wrong_issuer`, `lease.lost`
   */
  async release(leaseId: string, holder: LeaseHolder, epoch: number): Promise<void> {
    const { store, now, assertOpen } = this.#options;
    assertOpen();
    await store.transaction(async (tx) => {
      const lease = await tx.leases.find(leaseId);
      assertHolder(lease, holder);
      if (epoch < lease.epoch) {
        throw new FabricError("lease.lost", "the lease was given under a newer epoch of the instance");
      }
      const ended = await tx.leases.end({ leaseId }, "released", now());
      if (ended.length > 0) await this.#record(tx, "vault.release", lease, {});
    });
  }

  /**
   * Stores refreshed fields, all of them, as the next version.
   *
   * @param open opens the fields that were sealed under this lease; they are wiped here
   * @returns the new version; the same when the same request is repeated
   * @throws FabricError `vault.conflict` when another version is current or a newer lease has written,
   *   `vault.lease_expired`, `vault.revoked`, `envelope.wrong_issuer`, or what `open` throws
   */
  async writeBack(
    request: WriteBack,
    open: (lease: Lease) => Promise<Record<string, Uint8Array>>,
  ): Promise<number> {
    const { store, versions, now: clock, assertOpen } = this.#options;
    assertOpen();
    return store.transaction(async (tx) => {
      const { leaseId, holder, requestId } = request;
      const found = await tx.leases.find(leaseId);
      assertHolder(found, holder);
      const key = await versions.writingKey(tx, found.workspaceId);
      const head = await tx.secrets.lockById(found.secretId);
      const lease = await tx.leases.lock(leaseId);
      const now = clock();
      assertHolder(lease, holder);
      assertInForce(lease, now);
      if (head === undefined) throw new TypeError("a lease without its secret");
      const current = head.empty ? undefined : await tx.secrets.version(head.secretId, head.version);
      if (current?.requestId === requestId) return current.version;
      assertCurrent(head, lease, request.version);
      using secret = new Secret(await open(lease));
      const version = await versions.append(tx, head, key, secret.reveal(), now, {
        requestId,
        fence: lease.fence,
      });
      // All fields were written: what the daemon took before is part of them, or was refused.
      await tx.handOvers.removeTaken(head.secretId);
      await this.#record(tx, "vault.write_back", lease, { version });
      return version;
    });
  }

  /** Writes an audit entry for a refused request. @throws FabricError when the entry cannot be stored */
  async recordRefusal(entry: Omit<VaultAuditEntry, "action">): Promise<void> {
    const { store, audit } = this.#options;
    await store.transaction((tx) => audited(audit, tx.client, { ...entry, action: "vault.refused" }));
  }

  async #leaseFor(tx: StoreTransaction, head: Head, request: Checkout, now: Date): Promise<Lease> {
    const { holder, scope, epoch, ticketHash, requestId } = request;
    const known = await tx.leases.byRequest(requestId);
    if (known !== undefined) {
      assertHolder(known, holder);
      assertInForce(known, now);
      if (known.secretId === head.secretId && known.ticketHash === ticketHash) return known;
      throw new FabricError("envelope.conflict", "the request id was used for another checkout");
    }
    await tx.leases.supersede(head.secretId, holder.daemon, epoch, now);
    const term = this.#options.terms[scope];
    const lease: Lease = {
      leaseId: randomUUID(),
      secretId: head.secretId,
      workspaceId: holder.workspaceId,
      identityId: holder.identityId,
      daemon: holder.daemon,
      kid: holder.kid,
      epoch,
      scope,
      ticketHash,
      requestId,
      fence: await tx.secrets.nextFence(head.secretId),
      issuedAt: now,
      expiresAt: new Date(now.getTime() + Math.min(term.ttlMs, term.maxMs)),
      maxExpiresAt: new Date(now.getTime() + term.maxMs),
      ended: undefined,
    };
    await tx.leases.add(lease);
    return lease;
  }

  /** The stored fields; in a link flow, the handed-over fields replace those of the same name. */
  async #fieldsFor(tx: StoreTransaction, head: Head, request: Checkout, now: Date): Promise<Secret> {
    const { versions } = this.#options;
    const stored = await versions.read(tx, head, now);
    if (!request.linking) return stored ?? new Secret({});
    try {
      const handOver = await tx.handOvers.take(head.secretId, request.requestId, now);
      if (handOver === undefined) return stored ?? new Secret({});
      const handed = await versions.openHandOver(tx, head, handOver, now);
      const fields = { ...stored?.reveal(), ...handed.reveal() };
      for (const name of handed.names) stored?.get(name)?.fill(0);
      return new Secret(fields);
    } catch (error) {
      stored?.wipe();
      throw error;
    }
  }

  #record(
    tx: StoreTransaction,
    action: VaultAuditEntry["action"],
    lease: Lease,
    detail: VaultAuditEntry["detail"],
  ): Promise<void> {
    const { workspaceId, identityId: subject, daemon: actor, leaseId, fence } = lease;
    return audited(this.#options.audit, tx.client, {
      workspaceId,
      actor,
      action,
      subject,
      detail: { lease_id: leaseId, fence, ...detail },
    });
  }
}

function assertCurrent(head: Head, lease: Lease, expected: number): void {
  const current = head.empty ? 0 : head.version;
  if (expected !== current) {
    throw new FabricError("vault.conflict", `version ${current} is current, not ${expected}`);
  }
  if (lease.fence < head.writerFence) {
    throw new FabricError("vault.conflict", "a newer lease has written the credential");
  }
}
