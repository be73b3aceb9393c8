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
  /** As `sign`, on a thread of the pool. */
  signLater(type: string, body: Uint8Array): Promise<string>;
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
    signLater: (type, body) =>
      new Promise((resolve, reject) => {
        signBytes(null, pae(type, body), key, (error, signature) => {
          if (error === null) resolve(toBase64url(signature));
          else reject(new FabricError("internal", "the signature could not be made", { cause: error }));
        });
      }),
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
  const body = bytesOf(envelope);
  return { body, kid: signer.kid, sig: signer.sign(ENVELOPE_TYPE, body) };
}

/** As {@link encode}; the signature is made on a thread of the pool. @throws FabricError (rejects) as `encode` */
export async function encodeLater(envelope: Envelope, signer: Signer): Promise<Signed> {
  const body = bytesOf(envelope);
  return { body, kid: signer.kid, sig: await signer.signLater(ENVELOPE_TYPE, body) };
}

/**
 * Refuses what `encode` would, without a signature.
 *
 * @param roomBytes what may be added before it is encoded
 * @throws FabricError as {@link encode}
 */
export function requireEncodable(envelope: Envelope, roomBytes = 0): void {
  bytesOf(envelope, roomBytes);
}

function bytesOf(envelope: Envelope, roomBytes = 0): Uint8Array {
  const text = canonicalText(envelope);
  const body = Buffer.from(text, "utf8");
  checkSize(body.byteLength + roomBytes);
  checkDepth(body);
  check({ value: envelope, text, plain: false });
  return body;
}
