/**
 * Enrolment (contract section 11): a daemon generates its keys, registers their public halves with a one-time
 * token, and pins the core's keys. The token names the core's key; the daemon does not trust the answer
 * alone. The private keys never leave the key file.
 */
import { createHash, randomBytes } from "node:crypto";
import {
  coreKidOf,
  ErrorReplySchema,
  FabricError,
  generateSealKeys,
  KeyRecordSchema,
  proveEnrolment,
  signerFromSeed,
  toBase64url,
} from "@linkspan/envelopes";
import { z } from "zod";
import { type DaemonKeys, writeKeyFile } from "./key-file.ts";

export interface EnrolOptions {
  /** HTTP address of the core. */
  readonly coreUrl: string;
  /** From `linkspan daemon enrol`; valid once. It names the core's key, and no other key is pinned. */
  readonly token: string;
  readonly keyFile: string;
  readonly signal?: AbortSignal;
}

const EnrolledSchema = z.object({
  kid: z.string(),
  core_keys: z.array(KeyRecordSchema).min(1),
  partitions: z.int().min(1).max(100),
  generation: z.int().min(0),
  sig: z.string(),
});

const ProblemSchema = z.object({
  code: ErrorReplySchema.shape.error.shape.code,
  detail: z.string().optional(),
});

/**
 * Leaves no file when it fails.
 *
 * @throws FabricError `request.*` as the core answers, `bus.unavailable` when the core cannot be reached,
 *   `envelope.unknown_key`, `envelope.bad_signature` when a core other than the token's answered
 */
export async function enrol(options: EnrolOptions): Promise<DaemonKeys> {
  const coreKid = coreKidOf(options.token);
  if (coreKid === undefined) {
    throw new FabricError("request.invalid", "this is no token of linkspan daemon enrol");
  }
  const seed = randomBytes(32);
  const signer = signerFromSeed(seed);
  const sealKeys = await generateSealKeys();
  const enrolled = await register(options, {
    token: options.token,
    public_key_b64u: toBase64url(signer.publicKey),
    seal_b64u: toBase64url(sealKeys.publicKey),
  });
  proveEnrolment(enrolled, enrolled.sig, coreKid);
  if (enrolled.kid !== signer.kid)
    throw new FabricError("request.invalid", "the core registered another key");
  const keys = await writeKeyFile(options.keyFile, {
    format: "linkspan.daemon-keys.v1",
    seed_b64u: toBase64url(seed),
    seal_private_b64u: toBase64url(sealKeys.privateKey),
    core_keys: enrolled.core_keys,
    partitions: enrolled.partitions,
    generation: enrolled.generation,
    enrolled_with: tokenDigest(options.token),
  });
  seed.fill(0);
  return keys;
}

/** A digest that shows whether a key file was made with this token, and does not reveal the token. */
export function tokenDigest(token: string): string {
  return createHash("sha256").update(`linkspan.enrolled-with ${token}`).digest("base64url");
}

async function register({ coreUrl, signal }: EnrolOptions, body: Readonly<Record<string, string>>) {
  let response: Response;
  let answer: unknown;
  try {
    response = await fetch(new URL("/v1/enrolments", coreUrl), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: signal ?? AbortSignal.timeout(15_000),
    });
    answer = await response.json();
  } catch (cause) {
    throw new FabricError("bus.unavailable", "the core cannot be reached to enrol", { cause });
  }
  if (!response.ok) {
    const problem = ProblemSchema.safeParse(answer);
    const detail = `the core refused to enrol (${response.status}): ${problem.data?.detail ?? "no reason given"}`;
    throw new FabricError(problem.data?.code ?? "request.invalid", detail);
  }
  const enrolled = EnrolledSchema.safeParse(answer);
  if (enrolled.success) return enrolled.data;
  throw new FabricError("request.invalid", "the core's answer to the enrolment is not understood");
}
