/**
 * One signature for many (contract section 4): the root of a Merkle tree (RFC 6962) is signed, and each member carries
 * the signature with its own inclusion proof. So each can still be proven alone, and whoever receives many of one batch
 * checks the signature once.
 *
 *   leaf = SHA-256(0x00 ‖ PAE(type, body))      the type is in it: a ticket never verifies as an envelope
 *   node = SHA-256(0x01 ‖ left ‖ right)
 *   signed: PAE(batch type, size as uint32 ‖ root)
 *   `sig` = base64url(0x01 ‖ index as uint16 ‖ size as uint16 ‖ signature, 64 bytes ‖ proof, 32 bytes for each level)
 *
 * All numbers are big-endian. A text of 64 bytes is a plain signature.
 */
import { hash } from "node:crypto";

/** Members of the largest batch that is accepted. */
export const MAX_BATCH = 1_024;

const SIGNATURE_BYTES = 64;
const HASH_BYTES = 32;
const HEAD_BYTES = 5;
const VERSION = 1;
const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/** A member's place, and the hashes beside its way to the root. */
export interface Inclusion {
  readonly index: number;
  readonly size: number;
  /** From the leaf upwards, 32 bytes each. */
  readonly path: readonly Uint8Array[];
}

export interface BatchSignature extends Inclusion {
  /** Of the root, 64 bytes. */
  readonly signature: Uint8Array;
}

/** RFC 6962 section 2.1: SHA-256 over a zero byte and the entry. Of a member of a batch, the entry is `pae(type, body)`. */
export function leafHash(entry: Uint8Array): Uint8Array {
  return sha256(LEAF, entry);
}

/** @returns what is signed, with the type of batches, for a whole batch */
export function rootBody(root: Uint8Array, size: number): Uint8Array {
  const body = Buffer.allocUnsafe(4 + HASH_BYTES);
  body.writeUInt32BE(size);
  body.set(root, 4);
  return body;
}

/**
 * RFC 6962 section 2.1 for all leaves at once.
 *
 * @param leaves one or more
 */
export function treeOf(leaves: readonly Uint8Array[]): {
  readonly root: Uint8Array;
  readonly paths: readonly (readonly Uint8Array[])[];
} {
  const paths = leaves.map((): Uint8Array[] => []);
  const root = (from: number, to: number): Uint8Array => {
    if (to - from === 1) return leaves[from] as Uint8Array;
    const middle = from + largestPowerOfTwoBelow(to - from);
    const left = root(from, middle);
    const right = root(middle, to);
    for (let at = from; at < to; at++) (paths[at] as Uint8Array[]).push(at < middle ? right : left);
    return sha256(NODE, left, right);
  };
  return { root: root(0, leaves.length), paths };
}

/** @returns the root that the proof leads to; undefined when it is not a proof for this place (RFC 9162 section 2.1.3.2) */
export function rootFrom(leaf: Uint8Array, { index, size, path }: Inclusion): Uint8Array | undefined {
  let node = leaf;
  let at = index;
  let last = size - 1;
  for (const beside of path) {
    if (last === 0) return undefined;
    if (at % 2 === 1 || at === last) {
      node = sha256(NODE, beside, node);
      while (at % 2 === 0 && at !== 0) {
        at >>= 1;
        last >>= 1;
      }
    } else {
      node = sha256(NODE, node, beside);
    }
    at >>= 1;
    last >>= 1;
  }
  return last === 0 ? node : undefined;
}

/** @returns base64url without padding */
export function writeBatchSignature({ index, size, path, signature }: BatchSignature): string {
  const head = Buffer.allocUnsafe(HEAD_BYTES);
  head.writeUInt8(VERSION);
  head.writeUInt16BE(index, 1);
  head.writeUInt16BE(size, 3);
  return Buffer.concat([head, signature, ...path]).toString("base64url");
}

/** @returns undefined for bytes that are no signature of a batch */
export function readBatchSignature(bytes: Uint8Array): BatchSignature | undefined {
  const hashes = bytes.length - HEAD_BYTES - SIGNATURE_BYTES;
  if (hashes < HASH_BYTES || hashes % HASH_BYTES !== 0 || bytes[0] !== VERSION) return undefined;
  const [, a = 0, b = 0, c = 0, d = 0] = bytes;
  const index = a * 256 + b;
  const size = c * 256 + d;
  if (size > MAX_BATCH || index >= size) return undefined;
  const path = Array.from({ length: hashes / HASH_BYTES }, (_, level) => {
    const from = HEAD_BYTES + SIGNATURE_BYTES + level * HASH_BYTES;
    return bytes.subarray(from, from + HASH_BYTES);
  });
  return { index, size, path, signature: bytes.subarray(HEAD_BYTES, HEAD_BYTES + SIGNATURE_BYTES) };
}

function largestPowerOfTwoBelow(count: number): number {
  return 2 ** Math.floor(Math.log2(count - 1));
}

function sha256(...parts: readonly Uint8Array[]): Buffer {
  return hash("sha256", Buffer.concat(parts), "buffer");
}
