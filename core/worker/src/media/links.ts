/**
 * Links that give one workspace's media to whoever has them, for a short time and without a token: workspace, hash and
 * expiry, authenticated with a key that all processes derive from the namespace's data key.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { FabricError, lengthPrefixed, NAMESPACE_WORKSPACE } from "@linkspan/envelopes";
import type { Core } from "../core.ts";

export interface MediaLink {
  readonly workspaceId: string;
  /** 64 hexadecimal digits. */
  readonly sha256: string;
  readonly expiresAt: Date;
}

const PURPOSE = "media links";
const FORMAT = "linkspan.media-link.v1";
const LINK = /^([0-9]{1,11})\.([0-9]{1,9})\.([A-Za-z0-9_-]{1,64})\.([0-9a-f]{64})\.([A-Za-z0-9_-]{43})$/;

/** @returns 121 to 200 characters that are safe in a path */
export async function mediaLink(core: Core, { workspaceId, sha256, expiresAt }: MediaLink): Promise<string> {
  const derived = await core.vault.deriveKey(NAMESPACE_WORKSPACE, PURPOSE);
  if (derived === undefined) throw new FabricError("vault.unavailable", "there is no key for links");
  const parts = [
    String(Math.floor(expiresAt.getTime() / 1_000)),
    String(derived.keyVersion),
    workspaceId,
    sha256,
  ];
  try {
    return [...parts, macOf(derived.key, parts).toString("base64url")].join(".");
  } finally {
    derived.key.fill(0);
  }
}

/** @returns undefined for everything that is no link of this installation, or one that has expired */
export async function readMediaLink(core: Core, text: string): Promise<MediaLink | undefined> {
  const [, expiry, version, workspaceId, sha256, mac] = LINK.exec(text) ?? [];
  if (expiry === undefined || version === undefined || workspaceId === undefined) return undefined;
  if (sha256 === undefined || mac === undefined) return undefined;
  const derived = await core.vault.deriveKey(NAMESPACE_WORKSPACE, PURPOSE, Number(version));
  if (derived === undefined) return undefined;
  const expected = macOf(derived.key, [expiry, version, workspaceId, sha256]);
  derived.key.fill(0);
  const given = Buffer.from(mac, "base64url");
  // The text is compared as well: the last character of base64url has bits that decoding ignores.
  if (!timingSafeEqual(given, expected) || expected.toString("base64url") !== mac) return undefined;
  const expiresAt = new Date(Number(expiry) * 1_000);
  return expiresAt > core.now() ? { workspaceId, sha256, expiresAt } : undefined;
}

function macOf(key: Uint8Array, parts: readonly string[]): Buffer {
  return createHmac("sha256", key)
    .update(lengthPrefixed([FORMAT, ...parts]))
    .digest();
}
