/**
 * The vault: where credentials are kept, and the only way to them.
 *
 * sealed → (the key backend answers and is the right one) → open → sealed again when told so. Sealed, it
 * answers `health` and `unseal`, and everything else with `vault.sealed`.
 */
import type { CredentialFields } from "@linkspan/envelopes";
import type { CredentialRef } from "./keys/envelope-encryption.ts";
import type { LeaseSelection } from "./leases/leases.ts";
import type { Secret } from "./secret.ts";

/** The kind of credential that daemons check out. */
export const CREDENTIAL = "credential";

/** A credential handed over is kept no longer than this, milliseconds (contract section 9). */
export const MAX_HAND_OVER_MS = 300_000;

export type VaultHealth =
  | { readonly state: "open"; readonly backend: string; readonly keyId: string }
  | { readonly state: "sealed"; readonly backend: string; readonly reason: string };

/** What the core may do. All but `health` and `unseal` throw FabricError `vault.sealed` or `vault.unavailable`. */
export interface Vault {
  /**
   * Writes a new version. The fields stay the caller's to wipe.
   *
   * @param options `expectVersion`: the version that must be current, 0 for none
   * @returns the new version
   * @throws FabricError `vault.conflict` when another version is current, `envelope.schema` for fields that are
   *   too many, too large or wrongly named
   */
  put(
    ref: CredentialRef,
    fields: CredentialFields,
    options?: { readonly expectVersion?: number },
  ): Promise<number>;

  has(ref: CredentialRef): Promise<boolean>;

  /** Removes all versions and revokes the leases. Copies in backups stay readable until the workspace is shredded. */
  drop(ref: CredentialRef): Promise<void>;

  /** Destroys the workspace's data keys: no ciphertext of it opens again, wherever it was copied to. */
  shredWorkspace(workspaceId: string): Promise<void>;

  /**
   * Keeps what a person has just typed in, for a link flow: the next checkout with a ticket to link gets it,
   * once, beside the stored credential. Then it waits for `keepHandOver`, until its time is over. It replaces
   * what was waiting.
   *
   * @param ttlMs at most and by default 300,000
   */
  handOver(ref: CredentialRef, fields: CredentialFields, ttlMs?: number): Promise<void>;

  /**
   * Takes what was handed over, once, and ends the hand-over.
   *
   * @returns undefined when nothing waits, it is too old, or a daemon took it; dispose of it
   */
  takeHandOver(ref: CredentialRef): Promise<Secret | undefined>;

  /**
   * Makes what was handed over the credential, also after a daemon took and tried it.
   *
   * @returns its version; undefined when there is none or it is too old, and when the daemon has written back
   *   fields of its own since
   */
  keepHandOver(ref: CredentialRef): Promise<number | undefined>;

  /** Ends leases at once. @returns how many were in force */
  revoke(which: LeaseSelection): Promise<number>;

  /** Gives a workspace a new data key for what is written from now on. */
  rotateWorkspaceKey(workspaceId: string): Promise<void>;

  /**
   * Wraps every data key with the key backend's newest key. Interrupted, it goes on where it stopped when called
   * again; other processes may do it at the same time.
   *
   * @param progress told after each batch
   * @returns how many were moved
   */
  rewrap(options?: {
    readonly signal?: AbortSignal;
    readonly progress?: (moved: number) => void;
  }): Promise<number>;

  /** Forgets hand-overs that are too old and leases that ended a day ago. */
  sweep(): Promise<void>;

  /** Opens the vault if the key backend answers and can unwrap what is stored; else tells why not. Never rejects. */
  unseal(): Promise<VaultHealth>;

  /** Forgets every key in memory. */
  seal(reason: string): void;

  health(): Promise<VaultHealth>;
}
