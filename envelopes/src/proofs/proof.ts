/** Step 2 of the contract's order: the signature over the received bytes. */
import { verify } from "node:crypto";
import { FabricError } from "../errors/errors.ts";
import type { Key, KeyRing, Purpose } from "./keys.ts";
import { fromBase64url } from "../codec/base64url.ts";
import { BATCH_TYPE, pae } from "../codec/pae.ts";
import { leafHash, readBatchSignature, rootBody, rootFrom } from "./signed-batch.ts";

/** 64 bytes in base64url; the last character carries two bits. */
const PLAIN = /^[A-Za-z0-9_-]{85}[AQgw]$/;

/** Most characters of a signature with its inclusion proof; no batch is so large that one is longer. */
const MAX_CHARACTERS = 600;

/** A claim that is well formed and made with a key in force; only the curve has not been asked yet. */
export interface Claim {
  readonly key: Key;
  /** The signed bytes. */
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
  /** Names bytes and signature of a whole batch, for {@link Key.provenRoots}; undefined: it was signed alone. */
  readonly root?: string;
}

export interface Detached {
  readonly body: Uint8Array;
  readonly kid: string | undefined;
  /** Base64url, no padding. */
  readonly sig: string | undefined;
}

/**
 * All of a signature's checks but the costly one.
 *
 * @throws FabricError `envelope.unsigned`, `envelope.unknown_key`, `envelope.revoked_key`, `envelope.bad_signature`
 */
export function claimOf(
  type: string,
  purpose: Purpose,
  signed: Detached,
  keys: KeyRing,
  nowMs: number,
): Claim {
  const { body, kid, sig } = signed;
  if (kid === undefined || sig === undefined)
    throw new FabricError("envelope.unsigned", "there is no signature");
  const key = keys.get(kid);
  if (key === undefined) throw new FabricError("envelope.unknown_key", "no key has this id");
  checkInForce(key, purpose, nowMs);
  const message = pae(type, body);
  if (PLAIN.test(sig)) return { key, message, signature: Buffer.from(sig, "base64url") };
  return claimOfBatch(key, message, sig);
}

/** The batch that the inclusion proof leads to: its root is what the key signed. */
function claimOfBatch(key: Key, message: Uint8Array, sig: string): Claim {
  const bytes = sig.length > MAX_CHARACTERS ? undefined : fromBase64url(sig);
  const batch = bytes === undefined ? undefined : readBatchSignature(bytes);
  if (batch === undefined)
    throw badSignature("it is neither 64 bytes in base64url nor a signature of a batch");
  const root = rootFrom(leafHash(message), batch);
  if (root === undefined) throw badSignature("its inclusion proof is not one for its place");
  const signed = pae(BATCH_TYPE, rootBody(root, batch.size));
  const name = Buffer.concat([signed, batch.signature]).toString("latin1");
  return { key, message: signed, signature: batch.signature, root: name };
}

/** @throws FabricError `envelope.bad_signature` */
export function prove({ key, message, signature, root }: Claim): void {
  if (root !== undefined && key.provenRoots.has(root)) return;
  if (!verify(null, message, key.object, signature)) throw badSignature("it does not match the bytes");
  if (root !== undefined) key.provenRoots.add(root);
}

/**
 * As {@link prove}, on a thread of the pool; `done` gets the error, or nothing, at once where the batch is known. Never
 * throws.
 */
export function proveLater(claim: Claim, done: (error?: FabricError) => void): void {
  if (claim.root === undefined) verifyLater(claim, done);
  else claim.key.provenRoots.prove(claim.root, (checked) => verifyLater(claim, checked), done);
}

function verifyLater({ key, message, signature }: Claim, done: (error?: FabricError) => void): void {
  verify(null, message, key.object, signature, (cause, matches) => {
    if (cause !== null) done(new FabricError("envelope.bad_signature", "it could not be checked", { cause }));
    else if (matches) done();
    else done(badSignature("it does not match the bytes"));
  });
}

/**
 * As {@link prove} for many, on the threads of the pool. Never rejects.
 *
 * @returns for each claim its error, or undefined
 */
export function proveAllLater(claims: readonly Claim[]): Promise<(FabricError | undefined)[]> {
  return new Promise((resolve) => {
    const errors: (FabricError | undefined)[] = [];
    let open = claims.length;
    if (open === 0) resolve(errors);
    for (const [at, claim] of claims.entries()) {
      proveLater(claim, (error) => {
        errors[at] = error;
        if (--open === 0) resolve(errors);
      });
    }
  });
}

function checkInForce(key: Key, purpose: Purpose, nowMs: number): void {
  if (key.revokedAtMs <= nowMs) throw new FabricError("envelope.revoked_key", "the key was revoked");
  if (key.notAfterMs <= nowMs) throw new FabricError("envelope.revoked_key", "the key has run out");
  if (key.notBeforeMs > nowMs) throw new FabricError("envelope.unknown_key", "the key is not valid yet");
  if (!key.record.purposes.includes(purpose)) {
    throw new FabricError("envelope.unknown_key", `the key is not for signing a ${purpose}`);
  }
}

function badSignature(why: string): FabricError {
  return new FabricError("envelope.bad_signature", `the signature is refused: ${why}`);
}
