/**
 * What the vault stores: wrapped keys, ciphertexts and leases. A store holds nothing in plaintext, so a
 * reader of it learns names and times only.
 *
 * Obligations: all changes through one `StoreTransaction` are committed together or not at all; rows that
 * `lock` returned do not change until then.
 */
import type { CredentialRef, SealedVersion } from "../keys/envelope-encryption.ts";
import type { WorkspaceKey } from "../keys/data-keys.ts";
import type { WrappedKey } from "../keys/key-backend.ts";
import type { Lease, LeaseEnd, LeaseSelection } from "../leases/leases.ts";
import type { RowRows } from "../rows/row-store.ts";
import type { Transaction } from "./transaction.ts";

export interface SecretStore {
  /** Creates or upgrades what is stored; safe to repeat. @throws FabricError `vault.unavailable` */
  migrate(): Promise<void>;
  /** @throws FabricError `vault.unavailable` when the store does not answer, or what `work` throws */
  transaction<T>(work: (tx: StoreTransaction) => Promise<T>): Promise<T>;
}

export interface StoreTransaction {
  /** For changes that must be committed together with the vault's rows, such as audit entries. */
  readonly client: Transaction;
  readonly keys: KeyRows;
  readonly secrets: SecretRows;
  readonly leases: LeaseRows;
  readonly handOvers: HandOverRows;
  /** Durable rows of identities. */
  readonly rows: RowRows;
}

export interface KeyRows {
  /** The value that proves that the key backend is the right one; stores `fresh` when there is none yet. */
  unsealCheck(fresh: () => Promise<WrappedKey>): Promise<WrappedKey>;
  replaceUnsealCheck(wrapped: WrappedKey): Promise<void>;
  /** The key for new secrets, protected from shredding until the transaction ends. */
  newest(workspaceId: string): Promise<WorkspaceKey | undefined>;
  /** Undefined when it was shredded. */
  find(workspaceId: string, keyVersion: number): Promise<WorkspaceKey | undefined>;
  /** Prevents others from adding a key to the workspace until the transaction ends. Taken before any row. */
  lockWorkspace(workspaceId: string): Promise<void>;
  /** Number for the next key; shredded keys count. */
  nextVersion(workspaceId: string): Promise<number>;
  add(key: WorkspaceKey): Promise<void>;
  /** Keys not wrapped by `keyId`, at most `limit`, locked; keys that another process works on are skipped. */
  wrappedByOthers(keyId: string, limit: number): Promise<readonly WorkspaceKey[]>;
  replaceWrapped(key: WorkspaceKey): Promise<void>;
  /** Destroys all of a workspace's keys. @returns how many */
  destroy(workspaceId: string, now: Date): Promise<number>;
}

/** The newest state of one credential. */
export interface Head {
  readonly secretId: string;
  readonly ref: CredentialRef;
  /** Last version number assigned; 0: none yet. It only grows, also when the credential is dropped. */
  readonly version: number;
  readonly minVersion: number;
  readonly seal: Uint8Array | undefined;
  /** True when there is nothing to read. */
  readonly empty: boolean;
  /** Fence of the last lease that wrote. */
  readonly writerFence: number;
}

export interface VersionRow {
  readonly version: number;
  readonly keyVersion: number;
  readonly sealed: SealedVersion;
  /** `message_id` of the request that wrote it. */
  readonly requestId: string | undefined;
}

export interface SecretRows {
  find(ref: CredentialRef): Promise<Head | undefined>;
  /** Creates the head if there is none. */
  lock(ref: CredentialRef): Promise<Head>;
  lockById(secretId: string): Promise<Head | undefined>;
  version(secretId: string, version: number): Promise<VersionRow | undefined>;
  /** Makes it the current version, and removes versions below `minVersion`. */
  append(
    head: Head,
    row: VersionRow,
    minVersion: number,
    seal: Uint8Array,
    writerFence?: number,
  ): Promise<void>;
  /** Next value of the credential's fencing counter. */
  nextFence(secretId: string): Promise<number>;
  /** Removes all versions; the head stays, empty. */
  drop(secretId: string): Promise<void>;
  /** Locks and empties every head of a workspace. @returns how many contained a credential */
  dropWorkspace(workspaceId: string): Promise<number>;
}

export interface LeaseRows {
  add(lease: Lease): Promise<void>;
  find(leaseId: string): Promise<Lease | undefined>;
  byRequest(requestId: string): Promise<Lease | undefined>;
  /** Sets the end of a lease that has neither ended nor expired at `now`; undefined when it has. */
  extend(leaseId: string, until: Date, now: Date): Promise<Date | undefined>;
  /** Like `find`, and the lease does not change until the transaction ends. */
  lock(leaseId: string): Promise<Lease | undefined>;
  /** Ends leases that have not ended. @returns the leases that it ended */
  end(which: LeaseSelection, why: LeaseEnd, now: Date): Promise<readonly Lease[]>;
  /** Ends leases on a secret that other daemons or older epochs hold. */
  supersede(secretId: string, daemon: string, epoch: number, now: Date): Promise<number>;
  /** Deletes leases whose term ended before then, a bounded number of them. @returns how many */
  sweep(before: Date): Promise<number>;
}

export interface HandOver {
  readonly handOverId: string;
  readonly keyVersion: number;
  readonly sealed: SealedVersion;
  readonly expiresAt: Date;
  /** `message_id` of the checkout that took it. */
  readonly takenBy: string | undefined;
}

export interface HandOverRows {
  /** Replaces a waiting hand-over of the same credential. */
  put(secretId: string, handOver: HandOver): Promise<void>;
  /** For the first request, and for a repetition of that request; undefined when there is no valid one. */
  take(secretId: string, requestId: string, now: Date): Promise<HandOver | undefined>;
  /** Removes and returns it, taken or not; undefined when there is no valid one. */
  remove(secretId: string, now: Date): Promise<HandOver | undefined>;
  /** Removes it if it was taken. */
  removeTaken(secretId: string): Promise<void>;
  sweep(now: Date): Promise<number>;
}
