/** Checks values from a connector before the kit relies on them: a connector may be wrong. */
import { FabricError } from "@linkspan/envelopes";
import type { Part, Said } from "../connector.ts";

const DAY_MS = 86_400_000;
/** Most parts of one intent; more would flood the platform. */
const MAX_PARTS = 500;
const MAX_REMOTE_ID_BYTES = 1_024;
const MAX_COST = 100_000;

/** A duration between 0 and a day; undefined for any other value, such as NaN. */
export function soundMs(ms: number | undefined): number | undefined {
  if (typeof ms !== "number" || Number.isNaN(ms)) return undefined;
  return Math.min(Math.max(Math.ceil(ms), 0), DAY_MS);
}

/** @throws FabricError `internal` for an invalid plan, `platform.too_long` for one of too many parts */
export function soundParts(parts: unknown): readonly Part[] {
  if (!Array.isArray(parts)) throw new FabricError("internal", "the connector planned no list of parts");
  const given: readonly unknown[] = parts;
  if (given.length > MAX_PARTS) {
    throw new FabricError("platform.too_long", `it would be more than ${MAX_PARTS} messages`);
  }
  const sound = given.filter(isPart);
  if (sound.length < given.length) {
    throw new FabricError("internal", "the connector planned a part without number or cost");
  }
  return sound;
}

function isPart(part: unknown, index: number): part is Part {
  if (typeof part !== "object" || part === null) return false;
  const { index: number, cost } = part as Partial<Part>;
  return number === index && typeof cost === "number" && cost >= 0 && cost <= MAX_COST;
}

/**
 * Always returns an id and a time: a sent part must not be sent again because its confirmation was malformed.
 */
export function soundSaid(said: Said | undefined, key: string, now: Date): Said {
  const id: unknown = said?.remoteId;
  const at: unknown = said?.at;
  const isId = typeof id === "string" && id !== "" && Buffer.byteLength(id) <= MAX_REMOTE_ID_BYTES;
  return {
    remoteId: isId ? id : key,
    at: at instanceof Date && !Number.isNaN(at.getTime()) ? at : now,
  };
}
