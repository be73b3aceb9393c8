/** Parts of bytes in one text of bytes: each as a four-byte big-endian length and its bytes. */
import { FabricError } from "../errors/errors.ts";

/** No two lists of parts give the same bytes. @throws FabricError `envelope.schema` for a lone surrogate */
export function lengthPrefixed(parts: readonly (string | Uint8Array)[]): Uint8Array<ArrayBuffer> {
  const pieces = parts.map((part) => (typeof part === "string" ? utf8(part) : part));
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + 4 + piece.byteLength, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const piece of pieces) {
    view.setUint32(at, piece.byteLength);
    bytes.set(piece, at + 4);
    at += 4 + piece.byteLength;
  }
  return bytes;
}

/** Reads what {@link lengthPrefixed} wrote. */
export class PartReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The next part, not copied; undefined when it is cut off. */
  next(): Uint8Array | undefined {
    const start = this.#at + 4;
    if (start > this.#bytes.byteLength) return undefined;
    const end = start + this.#view.getUint32(this.#at);
    if (end > this.#bytes.byteLength) return undefined;
    this.#at = end;
    return this.#bytes.subarray(start, end);
  }

  /** Whether nothing but zeros follows. */
  isPadding(): boolean {
    return this.#bytes.subarray(this.#at).every((byte) => byte === 0);
  }
}

function utf8(text: string): Uint8Array {
  if (!text.isWellFormed()) throw new FabricError("envelope.schema", "a lone surrogate");
  return Buffer.from(text, "utf8");
}
