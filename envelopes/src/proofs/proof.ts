/** Step 2 of the contract's order: the signature over the received bytes. */
import { verify } from "node:crypto";
import { FabricError } from "../errors/errors.ts";
import type { Key, KeyRing, Purpose } from "./keys.ts";
import { pae } from "../codec/pae.ts";

/** 64 bytes in base64url; the last character carries two bits. */
const SIGNATURE = /^[A-Za-z0-9_-]{85}[AQgw]$/;

/** A claim that is well formed and made with a key in force; only the curve has not been asked yet. */
export interface Claim {
  readonly key: Key;
  /** The signed bytes. */
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
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
  if (!SIGNATURE.test(sig)) throw badSignature("it is not 64 bytes in base64url");
  return { key, message: pae(type, body), signature: Buffer.from(sig, "base64url") };
}

/** @throws FabricError `envelope.bad_signature` */
export function prove({ key, message, signature }: Claim): void {
  if (!verify(null, message, key.object, signature)) throw badSignature("it does not match the bytes");
}

/** As {@link prove}, on a thread of the pool; `done` gets the error, or nothing. Never throws. */
export function proveLater({ key, message, signature }: Claim, done: (error?: FabricError) => void): void {
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
