/**
 * Envelope encryption: key-encryption key → data key of a workspace → HKDF(data key, secret id ‖ version) →
 * AES-256-GCM, one key per version. The attributes of a ciphertext (workspace, identity, …) are authenticated
 * with it, length-prefixed, so that no row can be used in place of another. A key commitment stored beside it
 * ensures that a ciphertext opens under one key only.
 *
 * All functions are pure except for the random nonce, and synchronous: no other task can wipe a key during
 * its use.
 */
import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import { FabricError, lengthPrefixed } from "@linkspan/envelopes";
import { type Ciphertext, decrypt, encrypt, KEY_BYTES } from "./aead.ts";

const FORMAT = "linkspan.vault.v1";

/** The owner of the credential: one secret per reference. */
export interface CredentialRef {
  readonly workspaceId: string;
  readonly identityId: string;
  readonly service: string;
  /** Such as `credential`. */
  readonly kind: string;
}

/** Everything that a ciphertext is bound to. */
export interface Binding extends CredentialRef {
  readonly secretId: string;
  readonly version: number;
  /** Version of the workspace's data key. */
  readonly keyVersion: number;
}

export interface SealedVersion extends Ciphertext {
  /** 32 bytes that only the right key produces. */
  readonly commitment: Uint8Array;
}

/** What a wrapped data key is bound to at its key backend. */
export function dataKeyContext(workspaceId: string, keyVersion: number): Uint8Array {
  return lengthPrefixed([`${FORMAT} data key`, workspaceId, String(keyVersion)]);
}

/** @param dataKey 32 bytes; @param plain the caller wipes it */
export function sealVersion(dataKey: Uint8Array, binding: Binding, plain: Uint8Array): SealedVersion {
  return withVersionKey(dataKey, binding, (key, commitment) => ({
    ...encrypt(key, plain, additionalData(binding)),
    commitment: new Uint8Array(commitment),
  }));
}

/**
 * @returns the plaintext; the caller wipes it
 * @throws FabricError `vault.unavailable` unless it is exactly what was sealed under this binding
 */
export function openVersion(dataKey: Uint8Array, binding: Binding, sealed: SealedVersion): Uint8Array {
  return withVersionKey(dataKey, binding, (key, commitment) => {
    const { commitment: stored } = sealed;
    if (stored.byteLength !== commitment.byteLength || !timingSafeEqual(stored, commitment)) {
      throw new FabricError("vault.unavailable", "a stored ciphertext belongs to another key");
    }
    return decrypt(key, sealed, additionalData(binding));
  });
}

/**
 * Authenticates, under the data key, which version of a secret is the current one: a row that was set back to
 * an older version has no valid seal.
 *
 * @returns 32 bytes
 */
export function headSeal(dataKey: Uint8Array, binding: Binding, minVersion: number): Uint8Array {
  const key = derive(dataKey, ["head", binding.secretId], KEY_BYTES);
  try {
    const head = Buffer.concat([additionalData(binding), lengthPrefixed([String(minVersion)])]);
    return createHmac("sha256", key).update(head).digest();
  } finally {
    key.fill(0);
  }
}

/** @throws FabricError `vault.unavailable` when `seal` is not the {@link headSeal} of the same values */
export function assertHead(
  dataKey: Uint8Array,
  binding: Binding,
  minVersion: number,
  seal: Uint8Array | undefined,
): void {
  const expected = headSeal(dataKey, binding, minVersion);
  if (seal?.byteLength !== expected.byteLength || !timingSafeEqual(seal, expected)) {
    throw new FabricError(
      "vault.unavailable",
      "a secret was set back to a version that is not its current one",
    );
  }
}

/** A key for data outside of the vault. @returns 32 bytes; the caller wipes them */
export function derivedKey(dataKey: Uint8Array, purpose: string): Uint8Array {
  return derive(dataKey, ["purpose", purpose], KEY_BYTES);
}

function additionalData(binding: Binding): Uint8Array {
  const { workspaceId, identityId, service, kind, version, keyVersion } = binding;
  return lengthPrefixed([
    FORMAT,
    workspaceId,
    identityId,
    service,
    kind,
    String(version),
    String(keyVersion),
  ]);
}

function withVersionKey<T>(
  dataKey: Uint8Array,
  { secretId, version }: Binding,
  work: (key: Uint8Array, commitment: Uint8Array) => T,
): T {
  const derived = derive(dataKey, ["version", secretId, String(version)], 2 * KEY_BYTES);
  try {
    return work(derived.subarray(0, KEY_BYTES), derived.subarray(KEY_BYTES));
  } finally {
    derived.fill(0);
  }
}

function derive(dataKey: Uint8Array, labels: readonly string[], length: number): Uint8Array {
  if (dataKey.byteLength !== KEY_BYTES) throw new FabricError("vault.unavailable", "a data key has 32 bytes");
  return new Uint8Array(hkdfSync("sha256", dataKey, "", lengthPrefixed([FORMAT, ...labels]), length));
}
