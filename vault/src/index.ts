export type { Audit, VaultAuditEntry } from "./audit.ts";
export type { AuthorityClaim, RowAuthority } from "./authority.ts";
export type { DurableRows, LoadedPage, RowCommit, RowLoad } from "./rows/durable-rows.ts";
export type { RowService } from "./service/row-answers.ts";
export type { CheckedOut, Checkout, CredentialLeases, WriteBack } from "./leases/credential-leases.ts";
export type { CredentialRef } from "./keys/envelope-encryption.ts";
export { EnvelopeVault, type EnvelopeVaultOptions } from "./envelope-vault.ts";
export { FileKeyBackend, type FileKeyOptions } from "./keys/file-key-backend.ts";
export type { KeyBackend, KeyBackendHealth, WrappedKey } from "./keys/key-backend.ts";
export {
  LEASE_TERMS,
  type Lease,
  type LeaseEnd,
  type LeaseHolder,
  type LeaseScope,
  type LeaseSelection,
  type LeaseTerm,
  type LeaseTerms,
} from "./leases/leases.ts";
export { PgSecretStore } from "./store/pg-secret-store.ts";
export { Secret } from "./secret.ts";
export type { SecretStore } from "./store/secret-store.ts";
export {
  serveVault,
  VAULT_REQUESTS,
  type VaultLog,
  type VaultServiceOptions,
} from "./service/service.ts";
export type { Pool, Transaction } from "./store/transaction.ts";
export { CREDENTIAL, MAX_HAND_OVER_MS, type DerivedKey, type Vault, type VaultHealth } from "./vault.ts";
