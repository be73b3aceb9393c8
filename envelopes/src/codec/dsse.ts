/** DSSE's JSON form, for files, HTTP and audit exports (contract section 4). */
import { z } from "zod";
import { fromAnyBase64, toBase64url } from "./base64url.ts";
import { FabricError } from "../errors/errors.ts";
import type { Signed } from "./sign.ts";

export interface DsseJson {
  /** Base64 of the body; written in the standard alphabet with padding. */
  readonly payload: string;
  readonly payloadType: string;
  readonly signatures: readonly { readonly keyid: string; readonly sig: string }[];
}

const DsseSchema = z.strictObject({
  payload: z.string(),
  payloadType: z.string().min(1),
  signatures: z.array(z.strictObject({ keyid: z.string(), sig: z.string() })).length(1),
});

export interface FromDsse {
  readonly type: string;
  readonly body: Uint8Array;
  readonly kid: string;
  /** Base64url without padding, whichever alphabet it came in. */
  readonly sig: string;
}

export function toDsse(type: string, signed: Signed): DsseJson {
  const payload = Buffer.from(signed.body).toString("base64");
  return { payload, payloadType: type, signatures: [{ keyid: signed.kid, sig: signed.sig }] };
}

/**
 * Takes either base64 alphabet, padded or not, but no junk; exactly one signature.
 *
 * @throws FabricError `envelope.malformed` (no DSSE object), `envelope.unsigned` (no signature in it),
 *   `envelope.bad_signature` (a signature that is not base64)
 */
export function fromDsse(json: unknown): FromDsse {
  const result = DsseSchema.safeParse(json);
  if (!result.success) {
    const isUnsigned = Array.isArray((json as { signatures?: unknown } | null)?.signatures);
    const empty = isUnsigned && (json as { signatures: unknown[] }).signatures.length === 0;
    throw new FabricError(
      empty ? "envelope.unsigned" : "envelope.malformed",
      "not a DSSE object with one signature",
    );
  }
  const { payload, payloadType, signatures } = result.data;
  const body = fromAnyBase64(payload);
  if (body === undefined) throw new FabricError("envelope.malformed", "the payload is not base64");
  const { keyid, sig } = signatures[0] as { keyid: string; sig: string };
  const signature = fromAnyBase64(sig);
  if (signature === undefined) throw new FabricError("envelope.bad_signature", "the signature is not base64");
  return { type: payloadType, body, kid: keyid, sig: toBase64url(signature) };
}
