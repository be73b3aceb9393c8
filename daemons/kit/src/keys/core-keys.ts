/**
 * The core's keys as a daemon keeps them: pinned at enrolment, replaced by the content of a verified `hello`.
 */
import { fromBase64url, isFabricError, type KeyRecord, type KeyRing } from "@linkspan/envelopes";
import type { Logger } from "pino";

/**
 * Takes over the core's key records. An empty set, or one with a weak key, is refused and the old set stays
 * in force.
 */
export function withCoreKeys(ring: KeyRing, records: readonly KeyRecord[], log: Logger): void {
  const ofCore = records.filter((record) => record.issuers.includes("core"));
  if (ofCore.length === 0) return;
  try {
    ring.replace(ofCore);
  } catch (error) {
    if (!isFabricError(error)) throw error;
    log.error({ event: "keys.refused", code: error.code, err: error });
  }
}

/** The key that credentials are sealed to when they are written back: the core's newest seal key. */
export function vaultSealKeyOf(ring: KeyRing): Uint8Array | undefined {
  const sealKeys = ring
    .records()
    .filter((record) => record.issuers.includes("core") && record.seal_b64u !== undefined)
    .toSorted((a, b) => b.not_before.localeCompare(a.not_before));
  return fromBase64url(sealKeys[0]?.seal_b64u ?? "");
}
