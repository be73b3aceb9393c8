/** Public keys: validation when registered, records in force, and the ring that verification reads. */
import { createHash, createPublicKey, type KeyObject } from "node:crypto";
import { ed25519 } from "@noble/curves/ed25519.js";
import { fromBase64url, toBase64url } from "../codec/base64url.ts";
import { FabricError, isFabricError } from "../errors/errors.ts";
import { ProvenRoots } from "./proven-roots.ts";
import { isTimestamp } from "../codec/time.ts";

export type Purpose = "envelope" | "ticket" | "checkpoint";

/** A key record as registered; times as in an envelope, `services` and `workspaces` may hold `*`. */
export interface KeyRecord {
  readonly kid: string;
  readonly public_key_b64u: string;
  /** X25519 public key for credentials sealed to this daemon. */
  readonly seal_b64u?: string;
  readonly issuers: readonly string[];
  readonly purposes: readonly Purpose[];
  readonly services: readonly string[];
  readonly workspaces: readonly string[];
  readonly not_before: string;
  readonly not_after: string;
  readonly revoked_at?: string;
}

/** A record ready for verification. */
export interface Key {
  readonly record: KeyRecord;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly object: KeyObject;
  /** Of batches that this key signed, for the members that are still to come. Whether it is in force is asked each time. */
  readonly provenRoots: ProvenRoots<FabricError>;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Infinity: not revoked. */
  readonly revokedAtMs: number;
}

/** Roots that are remembered of each key, so that one sender cannot make another one's be forgotten. */
const MAX_ROOTS = 256;

const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

/**
 * Refuses keys for which signatures can be forged or verifiers disagree: wrong length, not the canonical
 * encoding of a point, small order, mixed order.
 *
 * @throws FabricError `envelope.unknown_key`
 */
export function validatePublicKey(bytes: Uint8Array): void {
  if (bytes.byteLength !== 32) throw weak("it does not have 32 bytes");
  let point: ReturnType<typeof ed25519.Point.fromBytes>;
  try {
    point = ed25519.Point.fromBytes(new Uint8Array(bytes), false);
  } catch (cause) {
    throw new FabricError("envelope.unknown_key", "the public key is not the encoding of a curve point", {
      cause,
    });
  }
  if (point.isSmallOrder()) throw weak("it has small order");
  if (!point.isTorsionFree()) throw weak("it has mixed order");
  if (toBase64url(point.toBytes()) !== toBase64url(bytes)) throw weak("it is not canonically encoded");
}

/** RFC 7638 thumbprint of an Ed25519 public key, base64url. */
export function thumbprint(publicKey: Uint8Array): string {
  const jwk = `{"crv":"Ed25519","kty":"OKP","x":"${toBase64url(publicKey)}"}`;
  return createHash("sha256").update(jwk).digest("base64url");
}

export interface KeyRingOptions {
  /**
   * When a key is validated, which takes most of a millisecond of arithmetic. Default `loading`: one weak record
   * refuses the whole set. `first use` is for records that were validated when they were registered, of which there
   * may be thousands: a weak one is then an unknown key.
   */
  readonly validated?: "loading" | "first use";
}

interface Held {
  readonly record: KeyRecord;
  /** As an older set had it: where the public key is the same, it is valid. */
  readonly before?: Key | undefined;
  /** Absent until it is used; null when it was refused. */
  key?: Key | null;
}

/** The keys in force, by id. Reads are lock-free: `replace` swaps the whole set. */
export class KeyRing {
  readonly #eager: boolean;
  #keys: ReadonlyMap<string, Held>;

  /** @throws FabricError `envelope.unknown_key` for a weak key, or a kid that is not the key's thumbprint */
  constructor(records: readonly KeyRecord[], { validated = "loading" }: KeyRingOptions = {}) {
    this.#eager = validated === "loading";
    this.#keys = load(records, new Map(), this.#eager);
  }

  get(kid: string): Key | undefined {
    const held = this.#keys.get(kid);
    if (held === undefined) return undefined;
    if (held.key === undefined) {
      try {
        held.key = loadOne(held.record, held.before);
      } catch (error) {
        if (!isFabricError(error)) throw error;
        held.key = null;
      }
    }
    return held.key ?? undefined;
  }

  records(): readonly KeyRecord[] {
    return [...this.#keys.values()].map(({ record }) => record);
  }

  /**
   * All or nothing; where keys are validated when loaded, a weak record leaves the old set in force.
   *
   * @throws FabricError `envelope.unknown_key`
   */
  replace(records: readonly KeyRecord[]): void {
    this.#keys = load(records, this.#keys, this.#eager);
  }
}

function load(
  records: readonly KeyRecord[],
  known: ReadonlyMap<string, Held>,
  eager: boolean,
): ReadonlyMap<string, Held> {
  const keys = new Map<string, Held>();
  for (const record of records) {
    const last = known.get(record.kid);
    const before = last?.key ?? last?.before;
    keys.set(record.kid, { record, before, ...(eager && { key: loadOne(record, before) }) });
  }
  return keys;
}

function loadOne(record: KeyRecord, known: Key | undefined): Key {
  const validity = {
    notBeforeMs: instant(record.not_before),
    notAfterMs: instant(record.not_after),
    revokedAtMs: record.revoked_at === undefined ? Infinity : instant(record.revoked_at),
  };
  if (known !== undefined && known.record.public_key_b64u === record.public_key_b64u) {
    return { ...known, ...validity, record };
  }
  const publicKey = fromBase64url(record.public_key_b64u);
  if (publicKey === undefined) throw weak("it is not base64url");
  validatePublicKey(publicKey);
  if (thumbprint(publicKey) !== record.kid) throw weak("its kid is not its thumbprint");
  const der = Buffer.concat([SPKI_PREFIX, publicKey]);
  const object = createPublicKey({ key: der, format: "der", type: "spki" });
  return { record, publicKey, object, provenRoots: new ProvenRoots(MAX_ROOTS), ...validity };
}

function instant(text: string): number {
  if (!isTimestamp(text)) throw weak("its validity is not YYYY-MM-DDTHH:MM:SS.mmmZ");
  return Date.parse(text);
}

function weak(why: string): FabricError {
  return new FabricError("envelope.unknown_key", `the public key is refused: ${why}`);
}
