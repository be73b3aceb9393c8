/**
 * The vault: the place of all credentials, and the only way to them.
 *
 * sealed → (the key backend answers and is the right one) → open → sealed again on request. While sealed, it
 * answers `health` and `unseal`, and every other call with `vault.sealed`.
 */
import type { CredentialFields } from "@linkspan/envelopes";
import type { CredentialRef } from "./keys/envelope-encryption.ts";
import type { LeaseSelection } from "./leases/leases.ts";
import type { Secret } from "./secret.ts";

/** The kind of credential that daemons check out. */
export const CREDENTIAL = "credential";

/** Longest time for which a handed-over credential is kept, milliseconds (contract section 9). */
export const MAX_HAND_OVER_MS = 300_000;

export type VaultHealth =
  | { readonly state: "open"; readonly backend: string; readonly keyId: string }
  | { readonly state: "sealed"; readonly backend: string; readonly reason: string };

export interface DerivedKey {
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** Version of the data key. */
  readonly keyVersion: number;
}

/**
 * The operations of the core. All but `health` and `unseal` throw FabricError `vault.sealed` or
 * `vault.unavailable`.
 */
export interface Vault {
  /**
   * Writes a new version. The caller still owns the fields and wipes them.
   *
   * @param options `expectVersion`: the version that must be current, 0 for none
   * @returns the new version
   * @throws FabricError `vault.conflict` when another version is current, `envelope.schema` for fields that
   *   are too many, too large or wrongly named
   */
  put(
    ref: CredentialRef,
    fields: CredentialFields,
    options?: { readonly expectVersion?: number },
  ): Promise<number>;

  has(ref: CredentialRef): Promise<boolean>;

  /**
   * Removes all versions and the identity's durable rows, and revokes the leases. Copies in backups stay readable until the workspace is
   * shredded.
   */
  drop(ref: CredentialRef): Promise<void>;

  /**
   * Destroys the workspace's data keys: none of its ciphertexts can be opened again, including all copies.
   */
  shredWorkspace(workspaceId: string): Promise<void>;

  /**
   * Stores what a person has just entered, for a link flow. The next checkout with a ticket to link gets it,
   * once, together with the stored credential. After that it is kept for `keepHandOver` until it expires. It
   * replaces a waiting hand-over.
   *
   * @param ttlMs at most and by default 300,000
   */
  handOver(ref: CredentialRef, fields: CredentialFields, ttlMs?: number): Promise<void>;

  /**
   * Takes the handed-over fields, once, and ends the hand-over.
   *
   * @returns undefined when there is none, it is too old, or a daemon took it; dispose of the result
   */
  takeHandOver(ref: CredentialRef): Promise<Secret | undefined>;

  /**
   * Makes the handed-over fields the credential, also after a daemon took and tried them.
   *
   * @returns its version; undefined when there is none or it is too old, or when the daemon has written back
   *   fields of its own since
   */
  keepHandOver(ref: CredentialRef): Promise<number | undefined>;

  /** Ends leases at once. @returns how many were in force */
  revoke(which: LeaseSelection): Promise<number>;

  /**
   * A key for data of the workspace that lies elsewhere, such as media: HKDF of its data key and the purpose. It is gone
   * with the data key.
   *
   * @param purpose part of the derivation; each use has its own
   * @param keyVersion the data key from which the key was derived before; default the newest, which is created when
   *   there is none
   * @returns undefined when that data key was shredded or never existed; the caller wipes the key
   */
  deriveKey(workspaceId: string, purpose: string, keyVersion?: number): Promise<DerivedKey | undefined>;

  /** Creates a new data key for the workspace's future writes. */
  rotateWorkspaceKey(workspaceId: string): Promise<void>;

  /**
   * Wraps every data key with the key backend's newest key. After an interruption, the next call continues
   * where this one stopped; other processes may do it at the same time.
   *
   * @param progress called after each batch
   * @returns how many were moved
   */
  rewrap(options?: {
    readonly signal?: AbortSignal;
    readonly progress?: (moved: number) => void;
  }): Promise<number>;

  /** Deletes hand-overs that are too old and leases that ended a day ago. */
  sweep(): Promise<void>;

  /**
   * Opens the vault if the key backend answers and can unwrap the stored keys; otherwise returns the reason.
   * Never rejects.
   */
  unseal(): Promise<VaultHealth>;

  /** Removes every key from memory. */
  seal(reason: string): void;

  health(): Promise<VaultHealth>;
}
