/** Signing keys on disk: one file per key, readable by its owner only, created on first use. */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { link, mkdir, open, readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  FabricError,
  type KeyRecord,
  type Signer,
  signerFromSeed,
  timestamp,
  toBase64url,
} from "@linkspan/envelopes";

/**
 * @returns 32 bytes stored in `<data>/<name>`, generated on first use; two processes that start at once get
 *   the same
 */
export async function seedFile(data: string, name: string): Promise<Uint8Array> {
  const path = join(data, name);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  if (!existsSync(path)) await drawSeed(path);
  return parseSeed(await readFile(path, "utf8"), path);
}

/** The file appears completely or not at all, whenever the process ends. */
async function drawSeed(path: string): Promise<void> {
  const draft = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    const file = await open(draft, "wx", 0o600);
    await file.writeFile(`${randomBytes(32).toString("hex")}\n`);
    await file.sync();
    await file.close();
    await link(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

/** @throws FabricError `request.invalid` when the text is not 32 bytes in hexadecimal */
export function parseSeed(text: string, path: string): Uint8Array {
  if (!/^\s*[0-9a-f]{64}\s*$/i.test(text)) {
    throw new FabricError("request.invalid", `${path} does not hold 32 bytes in hexadecimal`);
  }
  return Buffer.from(text.trim(), "hex");
}

export async function signerFile(data: string, name: string): Promise<Signer> {
  return signerFromSeed(await seedFile(data, name));
}

const TEN_YEARS_MS = 10 * 365 * 86_400_000;

/** A record for a key that this installation generated itself. */
export function ownRecord(
  signer: Signer,
  holder: Pick<KeyRecord, "issuers" | "purposes" | "services"> & { readonly seal?: Uint8Array },
  now: Date,
): KeyRecord {
  return {
    kid: signer.kid,
    public_key_b64u: toBase64url(signer.publicKey),
    ...(holder.seal !== undefined && { seal_b64u: toBase64url(holder.seal) }),
    issuers: holder.issuers,
    purposes: holder.purposes,
    services: holder.services,
    workspaces: ["*"],
    not_before: timestamp(new Date(now.getTime() - 60_000)),
    not_after: timestamp(new Date(now.getTime() + TEN_YEARS_MS)),
  };
}
