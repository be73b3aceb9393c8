import { FabricError, isFabricError } from "@linkspan/envelopes";
import type { Transaction } from "./store/transaction.ts";

/** What the vault has done or refused. Names and numbers only, never a field of a credential. */
export interface VaultAuditEntry {
  readonly workspaceId: string;
  /** Issuer string: `core`, or the daemon that asked. */
  readonly actor: string;
  readonly action:
    | "vault.put"
    | "vault.drop"
    | "vault.shred"
    | "vault.hand_over"
    | "vault.hand_over_taken"
    | "vault.rotate"
    | "vault.checkout"
    | "vault.release"
    | "vault.write_back"
    | "vault.revoke"
    | "vault.rows_loaded"
    | "vault.refused";
  /** The identity; the workspace when the entry concerns the whole workspace. */
  readonly subject: string;
  readonly detail: Readonly<Record<string, string | number | boolean>>;
}

/**
 * Writes an entry in the same transaction as the change that it describes: both are committed, or neither.
 */
export type Audit = (tx: Transaction, entry: VaultAuditEntry) => Promise<void>;

/**
 * Nothing is released before its audit entry is written.
 *
 * @throws FabricError `vault.unavailable`, or the audit's own error
 */
export async function audited(audit: Audit, tx: Transaction, entry: VaultAuditEntry): Promise<void> {
  try {
    await audit(tx, entry);
  } catch (cause) {
    if (isFabricError(cause)) throw cause;
    throw new FabricError("vault.unavailable", "the audit entry could not be written", { cause });
  }
}
