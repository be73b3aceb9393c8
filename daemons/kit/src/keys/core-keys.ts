/** The core's keys as a daemon keeps them: pinned at enrolment, replaced by what a proven `hello` says. */
import { fromBase64url, isFabricError, type KeyRecord, type KeyRing } from "@linkspan/envelopes";
import type { Logger } from "pino";

/** Takes over the core's records; a set without any, or with a weak key, leaves the old one in force. */
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

/** Whom credentials are sealed to on their way back: the core's newest seal key. */
export function vaultSealKeyOf(ring: KeyRing): Uint8Array | undefined {
  const sealKeys = ring
    .records()
    .filter((record) => record.issuers.includes("core") && record.seal_b64u !== undefined)
    .toSorted((a, b) => b.not_before.localeCompare(a.not_before));
  return fromBase64url(sealKeys[0]?.seal_b64u ?? "");
}
