/** Received bytes to a JSON value, steps 1 and 3 to 6 of the contract's order (section 3). */
import { isUtf8 } from "node:buffer";
import { canonicalText } from "./canonical.ts";
import { FabricError } from "./errors.ts";

/** Largest body of an envelope, bytes. */
export const MAX_BYTES = 1_048_576;

/** Deepest nesting of an envelope; the envelope itself is 1. */
export const MAX_DEPTH = 32;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

export interface Parsed {
  readonly value: unknown;
  readonly text: string;
}

/** @throws FabricError `envelope.too_large` */
export function checkSize(bytes: number): void {
  if (bytes > MAX_BYTES) throw new FabricError("envelope.too_large", `${bytes} bytes`);
}

/**
 * Strict UTF-8, depth, JSON.
 *
 * @throws FabricError `envelope.not_utf8`, `envelope.malformed`
 */
export function parse(body: Uint8Array): Parsed {
  if (!isUtf8(body)) throw new FabricError("envelope.not_utf8", "the body is not UTF-8");
  if (body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf) {
    throw new FabricError("envelope.not_utf8", "the body starts with a byte order mark");
  }
  if (depthOf(body) > MAX_DEPTH)
    throw new FabricError("envelope.malformed", `it nests deeper than ${MAX_DEPTH}`);
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8");
  try {
    return { value: JSON.parse(text) as unknown, text };
  } catch {
    // The parser's own message quotes the input, which may be private; that it is not JSON says enough.
    throw new FabricError("envelope.malformed", "the body is not JSON");
  }
}

/**
 * As {@link parse}, and the bytes must be the canonical ones: this refuses duplicate members, other
 * orders, white space, `1.0` and needless escapes.
 *
 * @throws FabricError `envelope.not_utf8`, `envelope.malformed`, `envelope.not_canonical`
 */
export function parseCanonical(body: Uint8Array): Parsed {
  const parsed = parse(body);
  // Strict UTF-8 has one spelling per text, so comparing texts compares the bytes.
  if (canonicalText(parsed.value) !== parsed.text) {
    throw new FabricError("envelope.not_canonical", "the body is not in RFC 8785 form");
  }
  return parsed;
}

/** Deepest nesting of brackets outside strings; visits each byte once. */
export function depthOf(bytes: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  const { length } = bytes;
  for (let i = 0; i < length; i++) {
    const byte = bytes[i];
    if (byte === QUOTE) {
      for (i++; i < length && bytes[i] !== QUOTE; i++) if (bytes[i] === BACKSLASH) i++;
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      if (++depth > deepest) deepest = depth;
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      depth--;
    }
  }
  return deepest;
}
