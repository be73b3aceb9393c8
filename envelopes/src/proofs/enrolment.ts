/**
 * The first contact of a daemon with its core (contract section 11). The one-time token names the
 * core's key, and the core signs its answer with that key: whoever else answers, or changes the answer on its
 * way, is found out, also where the connection itself proves nothing.
 */
import { canonical } from "../codec/canonical.ts";
import { FabricError } from "../errors/errors.ts";
import { type KeyRecord, KeyRing } from "./keys.ts";
import { ENROLMENT_TYPE, pae } from "../codec/pae.ts";
import { prove } from "./proof.ts";
import type { Signer } from "../codec/sign.ts";

/** The core's answer to a daemon that it has enrolled. */
export interface EnrolmentAnswer {
  /** The key that was registered. */
  readonly kid: string;
  readonly core_keys: readonly KeyRecord[];
  readonly partitions: number;
  readonly generation: number;
}

const TOKEN = /^lse_[A-Za-z0-9_-]{43}\.([A-Za-z0-9_-]{43})$/;
const SIGNATURE = /^[A-Za-z0-9_-]{86}$/;

/** @param secret 43 characters of base64url */
export function enrolmentToken(secret: string, coreKid: string): string {
  return `lse_${secret}.${coreKid}`;
}

/** @returns the key id of the core that issued the token; undefined for what is no enrolment token */
export function coreKidOf(token: string): string | undefined {
  return TOKEN.exec(token)?.[1];
}

/** @returns the signature over the canonical form of the answer, base64url without padding */
export function signEnrolment(answer: EnrolmentAnswer, signer: Signer): string {
  return signer.sign(ENROLMENT_TYPE, canonical(statement(answer)));
}

/**
 * @param coreKid the key that the token names
 * @throws FabricError `envelope.unknown_key` when the answer is not from that core, `envelope.bad_signature`
 *   when it was altered
 */
export function proveEnrolment(answer: EnrolmentAnswer, sig: string, coreKid: string): void {
  const key = new KeyRing(answer.core_keys).get(coreKid);
  if (key?.record.issuers.includes("core") !== true) {
    throw new FabricError(
      "envelope.unknown_key",
      "the core that answered does not have the key that the token names",
    );
  }
  if (!SIGNATURE.test(sig)) {
    throw new FabricError("envelope.bad_signature", "the core's answer is not signed");
  }
  const message = pae(ENROLMENT_TYPE, canonical(statement(answer)));
  prove({ key, message, signature: Buffer.from(sig, "base64url") });
}

function statement({ kid, core_keys, partitions, generation }: EnrolmentAnswer): EnrolmentAnswer {
  return { kid, core_keys, partitions, generation };
}
