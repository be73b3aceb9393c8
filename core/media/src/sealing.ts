/**
 * Media at rest: chunks of 64 KiB, each sealed with AES-256-GCM, in the STREAM construction (Hoang, Reyhanitabar,
 * Rogaway, Vizár 2015). The nonce holds the number of the chunk and whether it is the last one, so that chunks that are
 * missing, added or in another order do not open. Each object has a key of its own, and its name and workspace are
 * authenticated with every chunk: no object opens in place of another.
 *
 *     object key = HKDF-SHA-256(media key of the workspace, object name)
 *     chunk      = AES-256-GCM(object key, nonce = 0⁷ ‖ number (32 bits) ‖ last (8 bits)) ‖ tag (16 bytes)
 *
 * The constant part of the nonce is safe because a name is random and used for one object only.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { FabricError, lengthPrefixed } from "@linkspan/envelopes";

const FORMAT = "linkspan.media.v1";
const CIPHER = "aes-256-gcm";
const KEY_BYTES = 32;
const TAG_BYTES = 16;
/** Plain bytes of each chunk but the last, which has 0 to this many. */
export const CHUNK_BYTES = 65_536;
const SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES;

/** What an object is bound to. */
export interface Binding {
  readonly workspaceId: string;
  readonly object: string;
}

/** Positions of plain bytes, both included. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** A random name; it tells nothing about the content or its workspace. */
export function newObject(): string {
  return randomBytes(32).toString("base64url");
}

/** Stored bytes of an object of `bytes` plain bytes. */
export function sealedBytes(bytes: number): number {
  return bytes + TAG_BYTES * chunksOf(bytes);
}

/**
 * Seals a stream of pieces of any size.
 *
 * @param mediaKey 32 bytes, not kept
 */
export async function* seal(
  mediaKey: Uint8Array,
  binding: Binding,
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const key = objectKey(mediaKey, binding);
  const additional = additionalData(binding);
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  let filled = 0;
  let index = 0;
  try {
    for await (const piece of source) {
      for (let at = 0; at < piece.byteLength; ) {
        if (filled === CHUNK_BYTES) {
          yield* sealChunk(key, additional, index, false, chunk);
          index += 1;
          filled = 0;
        }
        const taken = piece.subarray(at, at + CHUNK_BYTES - filled);
        chunk.set(taken, filled);
        filled += taken.byteLength;
        at += taken.byteLength;
      }
    }
    yield* sealChunk(key, additional, index, true, chunk.subarray(0, filled));
  } finally {
    key.fill(0);
    chunk.fill(0);
  }
}

/** Positions of the stored bytes that hold a range, both included. */
export function sealedRange(bytes: number, { from, to }: Range): Range {
  const [first, last] = [chunkOf(from), chunkOf(to)];
  return {
    from: first * SEALED_CHUNK_BYTES,
    to: Math.min((last + 1) * SEALED_CHUNK_BYTES, sealedBytes(bytes)) - 1,
  };
}

/**
 * Opens a range. Only authenticated bytes are given.
 *
 * @param mediaKey 32 bytes, not kept
 * @param bytes plain bytes of the whole object
 * @param range within the object; for an object without bytes: 0 to -1, which authenticates it
 * @param source the stored bytes from {@link sealedRange} on
 * @throws FabricError `media.damaged` at the first chunk that is missing or not as it was sealed
 */
export async function* open(
  mediaKey: Uint8Array,
  binding: Binding,
  bytes: number,
  range: Range,
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const key = objectKey(mediaKey, binding);
  const additional = additionalData(binding);
  const [first, last, end] = [chunkOf(range.from), chunkOf(Math.max(range.to, 0)), chunksOf(bytes) - 1];
  let index = first;
  try {
    for await (const sealed of chunks(source, (n) => sealedChunkBytes(bytes, first + n), last - first + 1)) {
      const plain = openChunk(key, additional, index, index === end, sealed);
      const start = index * CHUNK_BYTES;
      yield plain.subarray(Math.max(range.from - start, 0), range.to - start + 1);
      index += 1;
    }
  } finally {
    key.fill(0);
  }
}

/** Pieces of the given sizes. @throws FabricError `media.damaged` when the source ends before */
async function* chunks(
  source: AsyncIterable<Uint8Array>,
  sizeOf: (n: number) => number,
  count: number,
): AsyncGenerator<Buffer> {
  let n = 0;
  let chunk = Buffer.allocUnsafe(sizeOf(0));
  let filled = 0;
  for await (const piece of source) {
    for (let at = 0; at < piece.byteLength && n < count; ) {
      const taken = piece.subarray(at, at + chunk.byteLength - filled);
      chunk.set(taken, filled);
      filled += taken.byteLength;
      at += taken.byteLength;
      if (filled < chunk.byteLength) continue;
      yield chunk;
      n += 1;
      filled = 0;
      if (n < count) chunk = Buffer.allocUnsafe(sizeOf(n));
    }
    if (n === count) return;
  }
  throw new FabricError("media.damaged", "a stored object is shorter than it was");
}

function* sealChunk(
  key: Uint8Array,
  additional: Uint8Array,
  index: number,
  isLast: boolean,
  plain: Uint8Array,
): Generator<Uint8Array> {
  const cipher = createCipheriv(CIPHER, key, nonceOf(index, isLast), { authTagLength: TAG_BYTES });
  cipher.setAAD(additional);
  yield cipher.update(plain);
  cipher.final();
  yield cipher.getAuthTag();
}

function openChunk(
  key: Uint8Array,
  additional: Uint8Array,
  index: number,
  isLast: boolean,
  sealed: Uint8Array,
): Uint8Array {
  const end = sealed.byteLength - TAG_BYTES;
  const decipher = createDecipheriv(CIPHER, key, nonceOf(index, isLast), { authTagLength: TAG_BYTES });
  decipher.setAAD(additional);
  decipher.setAuthTag(sealed.subarray(end));
  const plain = decipher.update(sealed.subarray(0, end));
  try {
    decipher.final();
    return plain;
  } catch (cause) {
    plain.fill(0);
    throw new FabricError("media.damaged", "a stored object is not as it was sealed", { cause });
  }
}

function nonceOf(index: number, isLast: boolean): Uint8Array {
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32BE(index, 7);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

function chunkOf(position: number): number {
  return Math.floor(position / CHUNK_BYTES);
}

/** An object without bytes has one chunk, too. */
function chunksOf(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / CHUNK_BYTES));
}

function sealedChunkBytes(bytes: number, index: number): number {
  return Math.min(CHUNK_BYTES, bytes - index * CHUNK_BYTES) + TAG_BYTES;
}

function objectKey(mediaKey: Uint8Array, { object }: Binding): Uint8Array {
  if (mediaKey.byteLength !== KEY_BYTES) throw new TypeError("a media key has 32 bytes");
  return new Uint8Array(
    hkdfSync("sha256", mediaKey, "", lengthPrefixed([FORMAT, "object", object]), KEY_BYTES),
  );
}

function additionalData({ workspaceId, object }: Binding): Uint8Array {
  return lengthPrefixed([FORMAT, workspaceId, object]);
}
