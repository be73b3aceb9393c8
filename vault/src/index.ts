export type { Audit, VaultAuditEntry } from "./audit.ts";
export type { CheckedOut, Checkout, CredentialLeases, WriteBack } from "./credential-leases.ts";
export type { CredentialRef } from "./envelope-encryption.ts";
export { EnvelopeVault, type EnvelopeVaultOptions } from "./envelope-vault.ts";
export { FileKeyBackend, type FileKeyOptions } from "./file-key-backend.ts";
export type { KeyBackend, KeyBackendHealth, WrappedKey } from "./key-backend.ts";
export {
  LEASE_TERMS,
  type Lease,
  type LeaseEnd,
  type LeaseHolder,
  type LeaseScope,
  type LeaseSelection,
  type LeaseTerm,
  type LeaseTerms,
} from "./leases.ts";
export { PgSecretStore } from "./pg-secret-store.ts";
export { Secret } from "./secret.ts";
export type { SecretStore } from "./secret-store.ts";
export {
  type AuthorityClaim,
  serveVault,
  VAULT_REQUESTS,
  type VaultLog,
  type VaultServiceOptions,
} from "./service.ts";
export type { Pool, Transaction } from "./transaction.ts";
export { CREDENTIAL, MAX_HAND_OVER_MS, type Vault, type VaultHealth } from "./vault.ts";
