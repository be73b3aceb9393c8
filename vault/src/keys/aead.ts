/** AES-256-GCM with a random 96-bit nonce and the full 128-bit tag; a shorter tag is never accepted. */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { FabricError } from "@linkspan/envelopes";

const CIPHER = "aes-256-gcm";
export const KEY_BYTES = 32;
export const NONCE_BYTES = 12;
export const TAG_BYTES = 16;

export interface Ciphertext {
  /** 12 bytes, never used twice with the same key. */
  readonly nonce: Uint8Array;
  /** Ciphertext followed by its 16-byte tag. */
  readonly bytes: Uint8Array;
}

/** @param key 32 bytes */
export function encrypt(key: Uint8Array, plain: Uint8Array, additional: Uint8Array): Ciphertext {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(additional);
  const bytes = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  return { nonce, bytes };
}

/**
 * @returns the plaintext; the caller wipes it
 * @throws FabricError `vault.unavailable` for any input except what was encrypted
 */
export function decrypt(key: Uint8Array, { nonce, bytes }: Ciphertext, additional: Uint8Array): Uint8Array {
  if (nonce.byteLength !== NONCE_BYTES || bytes.byteLength < TAG_BYTES) throw unauthentic();
  const end = bytes.byteLength - TAG_BYTES;
  const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(additional);
  decipher.setAuthTag(bytes.subarray(end));
  const plain = decipher.update(bytes.subarray(0, end));
  try {
    decipher.final();
    return plain;
  } catch (cause) {
    plain.fill(0);
    throw unauthentic(cause);
  }
}

function unauthentic(cause?: unknown): FabricError {
  return new FabricError("vault.unavailable", "a stored ciphertext does not authenticate", { cause });
}
