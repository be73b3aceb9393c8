/**
 * A daemon's own keys and the core's, as enrolment stored them: one JSON file that only its owner can read.
 */
import { chmod, readFile, rename, stat, writeFile } from "node:fs/promises";
import {
  FabricError,
  fromBase64url,
  KeyRecordSchema,
  type SealKeys,
  type Signer,
  sealKeysFrom,
  signerFromSeed,
} from "@linkspan/envelopes";
import { z } from "zod";

const Base64url = z.string().regex(/^[A-Za-z0-9_-]{43}$/);

export const KeyFileSchema = z.strictObject({
  format: z.literal("linkspan.daemon-keys.v1"),
  /** Ed25519 seed and X25519 private key. */
  seed_b64u: Base64url,
  seal_private_b64u: Base64url,
  core_keys: z.array(KeyRecordSchema).min(1),
  partitions: z.int().min(1).max(100),
  generation: z.int().min(0),
  /** Digest of the token used for enrolment; another token starts a new enrolment. */
  enrolled_with: Base64url.exactOptional(),
});

export type KeyFile = z.output<typeof KeyFileSchema>;

export interface DaemonKeys {
  readonly signer: Signer;
  readonly sealKeys: SealKeys;
  readonly coreKeys: KeyFile["core_keys"];
  readonly partitions: number;
  readonly generation: number;
  readonly enrolledWith: string | undefined;
}

/**
 * @returns undefined when there is no such file
 * @throws FabricError `request.invalid` for a file of another format, or one that others may read
 */
export async function readKeyFile(path: string): Promise<DaemonKeys | undefined> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  if (((await stat(path)).mode & 0o077) !== 0) {
    throw new FabricError(
      "request.invalid",
      `${path} holds private keys; let only its owner read it (chmod 600)`,
    );
  }
  return keysOf(parse(text, path));
}

/** Replaces the whole file; readable by its owner only. */
export async function writeKeyFile(path: string, file: KeyFile): Promise<DaemonKeys> {
  const draft = `${path}.new`;
  await writeFile(draft, `${JSON.stringify(file, undefined, 2)}\n`, { mode: 0o600 });
  await chmod(draft, 0o600);
  await rename(draft, path);
  return keysOf(file);
}

function parse(text: string, path: string): KeyFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FabricError("request.invalid", `${path} is not JSON`, { cause });
  }
  const result = KeyFileSchema.safeParse(value);
  if (result.success) return result.data;
  const where = result.error.issues.map((issue) => issue.path.join(".")).join(", ");
  throw new FabricError("request.invalid", `${path} is no key file: ${where}`);
}

function keysOf(file: KeyFile): DaemonKeys {
  return {
    signer: signerFromSeed(bytesOf(file.seed_b64u)),
    sealKeys: sealKeysFrom(bytesOf(file.seal_private_b64u)),
    coreKeys: file.core_keys,
    partitions: file.partitions,
    generation: file.generation,
    enrolledWith: file.enrolled_with,
  };
}

function bytesOf(text: string): Uint8Array {
  const bytes = fromBase64url(text);
  if (bytes?.byteLength !== 32)
    throw new FabricError("request.invalid", "a private key does not have 32 bytes");
  return bytes;
}
