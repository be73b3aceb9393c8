/**
 * Sealed delivery of credentials (contract section 8): HPKE base mode (RFC 9180), DHKEM(X25519, HKDF-SHA256),
 * HKDF-SHA256, AES-256-GCM. Base mode does not prove who sealed: the envelope around it is signed.
 *
 * The plaintext is a map of named byte fields in one length-prefixed, padded form, so that neither the
 * ciphertext's length nor a string in memory tells more than it must.
 */
import { isUtf8 } from "node:buffer";
import { createPrivateKey, createPublicKey, type webcrypto } from "node:crypto";
import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";
import { fromBase64url, toBase64url } from "../codec/base64url.ts";
import { FabricError } from "../errors/errors.ts";
import type { Sealed } from "../payloads/vault.ts";
import { lengthPrefixed, PartReader } from "./length-prefixed.ts";

export { lengthPrefixed } from "./length-prefixed.ts";

/** Credential fields by name, such as `password`. The bytes are the owner's to wipe. */
export type CredentialFields = Readonly<Record<string, Uint8Array>>;

/** Raw X25519 keys, 32 bytes each. */
export interface SealKeys {
  readonly publicKey: Uint8Array;
  readonly privateKey: Uint8Array;
}

/** Values to which a sealed credential is bound; it does not open with others. */
export interface SealContext {
  readonly leaseId: string;
  /** Issuer string of the daemon that holds the lease, for both directions. */
  readonly daemon: string;
  readonly workspaceId: string;
  readonly identityId: string;
  /** `ticketHash` of the ticket that was exchanged for the lease. */
  readonly ticketHash: string;
}

/** Packed fields of one credential, bytes; sealed they stay below an envelope's 64 KiB per string. */
export const MAX_CREDENTIAL_BYTES = 48_000;

const MAX_FIELDS = 64;
const PAD_TO = 256;
const PKCS8_PREFIX = Buffer.from("302e020100300506032b656e04220420", "hex");
/** As connectors declare secrets: `password`, `sasl.password`, `channel_key:#linkspan`. */
const FIELD_NAME =
  /^[a-z][A-Za-z0-9_]{0,63}(?:\.[a-z][A-Za-z0-9_]{0,63}){0,3}(?::[^\0-\x1F\x7F\u0085\u2028\u2029]{1,264})?$/;

const suite = new CipherSuite({
  kem: new DhkemX25519HkdfSha256(),
  kdf: new HkdfSha256(),
  aead: new Aes256Gcm(),
});

/** HPKE `info` of one hand-over: lease, daemon, workspace, identity, ticket hash, length-prefixed. */
export function sealInfo(context: SealContext): Uint8Array {
  const { leaseId, daemon, workspaceId, identityId, ticketHash } = context;
  return lengthPrefixed(["linkspan.sealed.v1", leaseId, daemon, workspaceId, identityId, ticketHash]);
}

export async function generateSealKeys(): Promise<SealKeys> {
  const pair = (await suite.kem.generateKeyPair()) as webcrypto.CryptoKeyPair;
  const publicKey = new Uint8Array(await suite.kem.serializePublicKey(pair.publicKey));
  return { publicKey, privateKey: new Uint8Array(await suite.kem.serializePrivateKey(pair.privateKey)) };
}

/**
 * The pair of a stored private key.
 *
 * @param privateKey 32 bytes; kept, not copied
 * @throws FabricError `vault.unavailable` when it does not have 32 bytes
 */
export function sealKeysFrom(privateKey: Uint8Array): SealKeys {
  if (privateKey.byteLength !== 32) {
    throw new FabricError("vault.unavailable", "an X25519 private key has 32 bytes");
  }
  const der = Buffer.concat([PKCS8_PREFIX, privateKey]);
  const object = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  der.fill(0);
  const spki = createPublicKey(object).export({ format: "der", type: "spki" });
  return { publicKey: new Uint8Array(spki.subarray(-32)), privateKey };
}

/**
 * Seals fields so that only the holder of the private key can open them, with the same `info`.
 *
 * @param recipientPublicKey 32 bytes; keys of small order are refused
 * @throws FabricError `envelope.unknown_key` for a key that cannot be sealed to, `envelope.schema` for fields
 *   outside the limits
 */
export async function seal(
  recipientPublicKey: Uint8Array,
  info: Uint8Array,
  fields: CredentialFields,
): Promise<Sealed> {
  return sealBytes(recipientPublicKey, info, packFields(fields));
}

/**
 * Seals bytes in a form of their own.
 *
 * @param plain wiped here
 * @throws FabricError `envelope.unknown_key` for a key that cannot be sealed to
 */
export async function sealBytes(
  recipientPublicKey: Uint8Array,
  info: Uint8Array,
  plain: Uint8Array<ArrayBuffer>,
): Promise<Sealed> {
  try {
    const recipient = owned(recipientPublicKey);
    const key = (await suite.kem.deserializePublicKey(recipient)) as webcrypto.CryptoKey;
    const { enc, ct } = await suite.seal({ recipientPublicKey: key, info: owned(info) }, plain.buffer);
    return { enc: toBase64url(new Uint8Array(enc)), ct: toBase64url(new Uint8Array(ct)) };
  } catch (cause) {
    throw new FabricError("envelope.unknown_key", "the seal key cannot be sealed to", { cause });
  } finally {
    plain.fill(0);
  }
}

/**
 * @param privateKey 32 bytes
 * @returns the fields; wipe them after use
 * @throws FabricError `vault.unavailable` when it was sealed to another key or for another context, or altered
 */
export async function open(
  privateKey: Uint8Array,
  info: Uint8Array,
  sealed: Sealed,
): Promise<Record<string, Uint8Array>> {
  const plain = await openBytes(privateKey, info, sealed);
  try {
    return unpackFields(plain);
  } finally {
    plain.fill(0);
  }
}

/**
 * Opens what {@link sealBytes} sealed.
 *
 * @returns bytes that the caller wipes
 * @throws FabricError `vault.unavailable` when it was sealed to another key or for another context, or altered
 */
export async function openBytes(
  privateKey: Uint8Array,
  info: Uint8Array,
  sealed: Sealed,
): Promise<Uint8Array> {
  const enc = fromBase64url(sealed.enc);
  const ct = fromBase64url(sealed.ct);
  if (enc === undefined || ct === undefined) throw unopened("it is not base64url");
  try {
    const recipientKey = await importPrivateKey(privateKey);
    return new Uint8Array(await suite.open({ recipientKey, enc: owned(enc), info: owned(info) }, owned(ct)));
  } catch (cause) {
    const detail = "what was sealed does not open with this key and context";
    throw new FabricError("vault.unavailable", detail, { cause });
  }
}

/**
 * The byte form that is encrypted, at rest and in transit: name and value of each field length-prefixed, an
 * empty name, zeros up to a multiple of 256 bytes.
 *
 * @returns bytes that the caller wipes
 * @throws FabricError `envelope.schema` for names that are not `[a-z][a-z0-9_]*`, more than 64 fields, or
 *   more than 48,000 bytes
 */
export function packFields(fields: CredentialFields): Uint8Array<ArrayBuffer> {
  const names = Object.keys(fields).sort();
  if (names.length > MAX_FIELDS) throw outside(`it has more than ${MAX_FIELDS} fields`);
  if (!names.every((name) => FIELD_NAME.test(name))) throw outside("a field's name is refused");
  const packed = lengthPrefixed(names.flatMap((name) => [name, fields[name] as Uint8Array]));
  const size = Math.ceil((packed.byteLength + 4) / PAD_TO) * PAD_TO;
  const padded = new Uint8Array(size);
  padded.set(packed);
  packed.fill(0);
  if (size <= MAX_CREDENTIAL_BYTES) return padded;
  padded.fill(0);
  throw outside(`it has more than ${MAX_CREDENTIAL_BYTES} bytes`);
}

/**
 * Inverse of {@link packFields}. The values are copies.
 *
 * @throws FabricError `vault.unavailable` for anything that `packFields` does not write
 */
export function unpackFields(bytes: Uint8Array): Record<string, Uint8Array> {
  const fields: Record<string, Uint8Array> = {};
  const parts = new PartReader(bytes);
  let previous = "";
  const next = (): Uint8Array => {
    const part = parts.next();
    if (part === undefined) throw unopened("its fields are cut off");
    return part;
  };
  for (;;) {
    const bytesOfName = next();
    if (!isUtf8(bytesOfName)) throw unopened("a field's name is no text");
    const name = Buffer.from(bytesOfName).toString("utf8");
    if (name === "") break;
    if (!FIELD_NAME.test(name) || name <= previous) throw unopened("its fields are not in order");
    fields[name] = new Uint8Array(next());
    previous = name;
  }
  if (!parts.isPadding()) throw unopened("bytes follow its fields");
  return fields;
}

async function importPrivateKey(privateKey: Uint8Array): Promise<webcrypto.CryptoKey> {
  const copy = owned(privateKey);
  try {
    return (await suite.kem.deserializePrivateKey(copy)) as webcrypto.CryptoKey;
  } finally {
    new Uint8Array(copy).fill(0);
  }
}

/** WebCrypto takes whole buffers; views into larger ones are copied. */
function owned(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

function outside(why: string): FabricError {
  return new FabricError("envelope.schema", `the credential is refused: ${why}`);
}

function unopened(why: string): FabricError {
  return new FabricError("vault.unavailable", `the credential does not open: ${why}`);
}
