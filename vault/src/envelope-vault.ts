import { type CredentialFields, FabricError } from "@linkspan/envelopes";
import { type Audit, audited, type VaultAuditEntry } from "./audit.ts";
import type { RowAuthority } from "./authority.ts";
import { CredentialLeases } from "./leases/credential-leases.ts";
import { CredentialVersions } from "./store/credential-versions.ts";
import { DataKeys } from "./keys/data-keys.ts";
import { type CredentialRef, dataKeyContext, derivedKey } from "./keys/envelope-encryption.ts";
import type { KeyBackend } from "./keys/key-backend.ts";
import { LEASE_TERMS, type LeaseSelection, type LeaseTerms } from "./leases/leases.ts";
import { DurableRows } from "./rows/durable-rows.ts";
import type { Secret } from "./secret.ts";
import type { Head, SecretStore, StoreTransaction } from "./store/secret-store.ts";
import { Unsealing } from "./keys/unsealing.ts";
import { type DerivedKey, MAX_HAND_OVER_MS, type Vault, type VaultHealth } from "./vault.ts";

export interface EnvelopeVaultOptions {
  readonly store: SecretStore;
  /** The creator disposes of it. */
  readonly backend: KeyBackend;
  readonly audit: Audit;
  readonly now?: () => Date;
  readonly terms?: LeaseTerms;
  /** Who may load and commit durable rows; absent: nobody. */
  readonly rowAuthority?: RowAuthority;
}

const REWRAP_BATCH = 50;
const KEEP_LEASES_MS = 86_400_000;

/**
 * The vault with envelope encryption: a store that sees ciphertext only, and a key backend that sees keys
 * only.
 */
export class EnvelopeVault implements Vault {
  /** The operations that daemons may request, through the fabric. */
  readonly leases: CredentialLeases;
  /** Durable rows of identities, which daemons load and commit through the fabric. */
  readonly rows: DurableRows;
  readonly #store: SecretStore;
  readonly #backend: KeyBackend;
  readonly #audit: Audit;
  readonly #now: () => Date;
  readonly #unsealing: Unsealing;
  readonly #dataKeys: DataKeys;
  readonly #versions: CredentialVersions;

  constructor(options: EnvelopeVaultOptions) {
    this.#store = options.store;
    this.#backend = options.backend;
    this.#audit = options.audit;
    this.#now = options.now ?? (() => new Date());
    this.#unsealing = new Unsealing(options.backend, options.store);
    this.#dataKeys = new DataKeys(options.backend);
    this.#versions = new CredentialVersions(options.backend, this.#dataKeys);
    this.leases = new CredentialLeases({
      store: options.store,
      versions: this.#versions,
      audit: options.audit,
      now: this.#now,
      terms: options.terms ?? LEASE_TERMS,
      assertOpen: () => this.#unsealing.assertOpen(),
    });
    this.rows = new DurableRows({
      store: options.store,
      versions: this.#versions,
      dataKeys: this.#dataKeys,
      audit: options.audit,
      now: this.#now,
      assertOpen: () => this.#unsealing.assertOpen(),
      authority: options.rowAuthority,
    });
  }

  put(
    ref: CredentialRef,
    fields: CredentialFields,
    options: { readonly expectVersion?: number } = {},
  ): Promise<number> {
    return this.#writing(ref, async (tx, head, append) => {
      const current = head.empty ? 0 : head.version;
      const { expectVersion } = options;
      if (expectVersion !== undefined && expectVersion !== current) {
        throw new FabricError("vault.conflict", `version ${current} is current, not ${expectVersion}`);
      }
      const version = await append(fields);
      await this.#record(tx, "vault.put", ref, { kind: ref.kind, version });
      return version;
    });
  }

  async has(ref: CredentialRef): Promise<boolean> {
    this.#unsealing.assertOpen();
    const head = await this.#store.transaction((tx) => tx.secrets.find(ref));
    return head !== undefined && !head.empty;
  }

  async drop(ref: CredentialRef): Promise<void> {
    this.#unsealing.assertOpen();
    await this.#store.transaction(async (tx) => {
      await tx.rows.lock([ref]);
      const rows = await tx.rows.drop(ref);
      const known = await tx.secrets.find(ref);
      if (known === undefined && rows === 0) return;
      const { secretId } = await tx.secrets.lock(ref);
      await tx.secrets.drop(secretId);
      const revoked = await tx.leases.end({ secretId }, "revoked", this.#now());
      await this.#record(tx, "vault.drop", ref, { kind: ref.kind, revoked: revoked.length, rows });
    });
  }

  async shredWorkspace(workspaceId: string): Promise<void> {
    this.#unsealing.assertOpen();
    await this.#store.transaction(async (tx) => {
      const now = this.#now();
      const keys = await tx.keys.destroy(workspaceId, now);
      const secrets = await tx.secrets.dropWorkspace(workspaceId);
      const rows = await tx.rows.dropWorkspace(workspaceId);
      const revoked = await tx.leases.end({ workspaceId }, "revoked", now);
      await this.#recordFor(tx, {
        workspaceId,
        actor: "core",
        action: "vault.shred",
        subject: workspaceId,
        detail: { keys, secrets, rows, revoked: revoked.length },
      });
    });
    this.#dataKeys.forget();
  }

  async handOver(
    ref: CredentialRef,
    fields: CredentialFields,
    ttlMs: number = MAX_HAND_OVER_MS,
  ): Promise<void> {
    this.#unsealing.assertOpen();
    await this.#store.transaction(async (tx) => {
      const now = this.#now();
      const key = await this.#versions.writingKey(tx, ref.workspaceId);
      const head = await tx.secrets.lock(ref);
      const expiresAt = new Date(now.getTime() + Math.min(ttlMs, MAX_HAND_OVER_MS));
      await this.#versions.handOver(tx, head, key, fields, now, expiresAt);
      await this.#record(tx, "vault.hand_over", ref, { kind: ref.kind });
    });
  }

  async takeHandOver(ref: CredentialRef): Promise<Secret | undefined> {
    this.#unsealing.assertOpen();
    const taking: { secret?: Secret } = {};
    try {
      await this.#store.transaction(async (tx) => {
        const now = this.#now();
        const head = await tx.secrets.lock(ref);
        const handOver = await tx.handOvers.remove(head.secretId, now);
        if (handOver === undefined || handOver.takenBy !== undefined) return;
        taking.secret = await this.#versions.openHandOver(tx, head, handOver, now);
        await this.#record(tx, "vault.hand_over_taken", ref, { kind: ref.kind });
      });
      return taking.secret;
    } catch (error) {
      taking.secret?.wipe();
      throw error;
    }
  }

  keepHandOver(ref: CredentialRef): Promise<number | undefined> {
    return this.#writing(ref, async (tx, head, append) => {
      const now = this.#now();
      const handOver = await tx.handOvers.remove(head.secretId, now);
      if (handOver === undefined) return undefined;
      using secret = await this.#versions.openHandOver(tx, head, handOver, now);
      const version = await append(secret.reveal());
      await this.#record(tx, "vault.put", ref, { kind: ref.kind, version, handed_over: true });
      return version;
    });
  }

  async revoke(which: LeaseSelection): Promise<number> {
    this.#unsealing.assertOpen();
    return this.#store.transaction(async (tx) => {
      const ended = await tx.leases.end(which, "revoked", this.#now());
      for (const { leaseId, workspaceId, identityId } of ended) {
        const detail = { lease_id: leaseId };
        await this.#recordFor(tx, {
          workspaceId,
          actor: "core",
          action: "vault.revoke",
          subject: identityId,
          detail,
        });
      }
      return ended.length;
    });
  }

  async deriveKey(
    workspaceId: string,
    purpose: string,
    keyVersion?: number,
  ): Promise<DerivedKey | undefined> {
    this.#unsealing.assertOpen();
    const stored = await this.#store.transaction((tx) =>
      keyVersion === undefined
        ? this.#versions.writingKey(tx, workspaceId)
        : tx.keys.find(workspaceId, keyVersion),
    );
    if (stored === undefined) return undefined;
    const key = await this.#dataKeys.use(stored, this.#now(), (dataKey) => derivedKey(dataKey, purpose));
    return { key, keyVersion: stored.keyVersion };
  }

  async rotateWorkspaceKey(workspaceId: string): Promise<void> {
    this.#unsealing.assertOpen();
    await this.#store.transaction(async (tx) => {
      const { keyVersion } = await this.#versions.addKey(tx, workspaceId);
      await this.#recordFor(tx, {
        workspaceId,
        actor: "core",
        action: "vault.rotate",
        subject: workspaceId,
        detail: { key_version: keyVersion },
      });
    });
  }

  async rewrap(
    options: { readonly signal?: AbortSignal; readonly progress?: (moved: number) => void } = {},
  ): Promise<number> {
    this.#unsealing.assertOpen();
    await this.#unsealing.rewrap();
    let moved = 0;
    while (options.signal?.aborted !== true) {
      const batch = await this.#rewrapBatch();
      if (batch === 0) break;
      moved += batch;
      options.progress?.(moved);
    }
    return moved;
  }

  async sweep(): Promise<void> {
    this.#unsealing.assertOpen();
    await this.#store.transaction(async (tx) => {
      const now = this.#now();
      await tx.handOvers.sweep(now);
      await tx.leases.sweep(new Date(now.getTime() - KEEP_LEASES_MS));
    });
  }

  unseal(): Promise<VaultHealth> {
    return this.#unsealing.unseal();
  }

  seal(reason: string): void {
    this.#unsealing.seal(reason);
    this.#dataKeys.forget();
  }

  health(): Promise<VaultHealth> {
    return this.#unsealing.health();
  }

  async #writing<T>(
    ref: CredentialRef,
    work: (
      tx: StoreTransaction,
      head: Head,
      append: (fields: CredentialFields) => Promise<number>,
    ) => Promise<T>,
  ): Promise<T> {
    this.#unsealing.assertOpen();
    return this.#store.transaction(async (tx) => {
      const key = await this.#versions.writingKey(tx, ref.workspaceId);
      const head = await tx.secrets.lock(ref);
      return work(tx, head, (fields) => this.#versions.append(tx, head, key, fields, this.#now()));
    });
  }

  async #rewrapBatch(): Promise<number> {
    const health = await this.#backend.health();
    if (!health.ok) throw new FabricError("vault.unavailable", health.reason);
    return this.#store.transaction(async (tx) => {
      const keys = await tx.keys.wrappedByOthers(health.keyId, REWRAP_BATCH);
      for (const key of keys) {
        const context = dataKeyContext(key.workspaceId, key.keyVersion);
        await tx.keys.replaceWrapped({ ...key, wrapped: await this.#backend.rewrap(key.wrapped, context) });
      }
      return keys.length;
    });
  }

  #record(
    tx: StoreTransaction,
    action: VaultAuditEntry["action"],
    ref: CredentialRef,
    detail: VaultAuditEntry["detail"],
  ): Promise<void> {
    const { workspaceId, identityId: subject, service } = ref;
    return this.#recordFor(tx, {
      workspaceId,
      actor: "core",
      action,
      subject,
      detail: { service, ...detail },
    });
  }

  #recordFor(tx: StoreTransaction, entry: VaultAuditEntry): Promise<void> {
    return audited(this.#audit, tx.client, entry);
  }
}
