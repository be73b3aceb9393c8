/** DSSE signatures (contract section 4). Each signed kind has its own type, so none verifies as another. */
import { createPrivateKey, createPublicKey, sign as signBytes } from "node:crypto";
import { toBase64url } from "./base64url.ts";
import { canonicalText } from "./canonical.ts";
import type { Envelope } from "./envelope.ts";
import { check } from "./check.ts";
import { FabricError } from "../errors/errors.ts";
import { thumbprint } from "../proofs/keys.ts";
import { ENVELOPE_TYPE, pae } from "./pae.ts";
import { checkDepth, checkSize } from "./strict-json.ts";

export { CHECKPOINT_TYPE, ENVELOPE_TYPE, pae, TICKET_TYPE } from "./pae.ts";

export interface Signer {
  /** RFC 7638 thumbprint of the public key. */
  readonly kid: string;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** @returns the signature over `pae(type, body)`, base64url without padding */
  sign(type: string, body: Uint8Array): string;
}

const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");

/** @param seed 32 bytes of an Ed25519 private key (RFC 8032); copied into a key object */
export function signerFromSeed(seed: Uint8Array): Signer {
  if (seed.byteLength !== 32) throw new FabricError("internal", "an Ed25519 seed has 32 bytes");
  const der = Buffer.concat([PKCS8_PREFIX, seed]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  der.fill(0);
  const publicKey = createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32);
  return {
    kid: thumbprint(publicKey),
    publicKey: new Uint8Array(publicKey),
    sign: (type, body) => toBase64url(signBytes(null, pae(type, body), key)),
  };
}

/** An envelope as it travels: canonical bytes and a detached signature. */
export interface Signed {
  readonly body: Uint8Array;
  readonly kid: string;
  /** Base64url, no padding. */
  readonly sig: string;
}

/**
 * Nothing leaves that `decode` would refuse for its form.
 *
 * @throws FabricError `envelope.not_canonical`, `envelope.too_large`, `envelope.malformed` (too deep),
 *   `envelope.schema`, `action.unsupported`
 */
export function encode(envelope: Envelope, signer: Signer): Signed {
  const text = canonicalText(envelope);
  const body = Buffer.from(text, "utf8");
  checkSize(body.byteLength);
  checkDepth(body);
  check({ value: envelope, text, plain: false });
  return { body, kid: signer.kid, sig: signer.sign(ENVELOPE_TYPE, body) };
}
