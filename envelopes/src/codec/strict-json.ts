/** Received bytes to a JSON value, steps 1 and 3 to 6 of the contract's order (section 3). */
import { isUtf8 } from "node:buffer";
import { isCanonicalText } from "./canonical.ts";
import { FabricError } from "../errors/errors.ts";
import { scan } from "./scan.ts";

/** Largest body of an envelope, bytes. */
export const MAX_BYTES = 1_048_576;

/** Deepest nesting of an envelope; the envelope itself is 1. */
export const MAX_DEPTH = 32;

export interface Parsed {
  readonly value: unknown;
  readonly text: string;
  /** True: no NUL and only safe integers in it. False: that is still to be seen. */
  readonly plain: boolean;
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
  return read(body, false);
}

/**
 * As {@link parse}, for senders that write numbers as they like: what is no safe integer becomes its own text, so that
 * nothing of an id or a fraction is lost.
 *
 * @throws FabricError `envelope.not_utf8`, `envelope.malformed`
 */
export function parseForeign(body: Uint8Array): Parsed {
  const parsed = parse(body);
  return parsed.plain ? parsed : { ...parsed, value: JSON.parse(parsed.text, exactly as Reviver) };
}

type Reviver = NonNullable<Parameters<typeof JSON.parse>[1]>;

function exactly(_name: string, value: unknown, { source }: { readonly source?: string }): unknown {
  if (typeof value !== "number") return value;
  if (!Number.isSafeInteger(value)) return source;
  return value === 0 ? 0 : value;
}

/**
 * As {@link parse}, and the bytes must be the canonical ones: this refuses duplicate members, other
 * orders, white space, `1.0` and needless escapes.
 *
 * @throws FabricError `envelope.not_utf8`, `envelope.malformed`, `envelope.not_canonical`
 */
export function parseCanonical(body: Uint8Array): Parsed {
  return read(body, true);
}

/** @throws FabricError `envelope.malformed` */
export function checkDepth(body: Uint8Array): void {
  if (nestsDeeper(body, MAX_DEPTH)) throw tooDeep();
}

/** Whether JSON nests deeper than `depth`, seen before anything parses it. */
export function nestsDeeper(body: Uint8Array, depth: number): boolean {
  return scan(body, depth).tooDeep;
}

function read(body: Uint8Array, mustBeCanonical: boolean): Parsed {
  if (!isUtf8(body)) throw new FabricError("envelope.not_utf8", "the body is not UTF-8");
  if (body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf) {
    throw new FabricError("envelope.not_utf8", "the body starts with a byte order mark");
  }
  const seen = scan(body, MAX_DEPTH);
  if (seen.tooDeep) throw tooDeep();
  const text = asBuffer(body).toString("utf8");
  const value = parseText(text);
  // Strict UTF-8 has one spelling per text, so comparing texts compares the bytes.
  if (mustBeCanonical && !seen.canonical && !isCanonicalText(value, text)) {
    throw new FabricError(
      "envelope.not_canonical",
      seen.plain
        ? "the body is not in RFC 8785 form"
        : "the body is not in RFC 8785 form; a number beyond 2^53 - 1 and a fraction are written as strings",
    );
  }
  return { value, text, plain: seen.plain };
}

function parseText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own message quotes the input, which may be private; that it is not JSON says enough.
    throw new FabricError("envelope.malformed", "the body is not JSON");
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function tooDeep(): FabricError {
  return new FabricError("envelope.malformed", `it nests deeper than ${MAX_DEPTH}`);
}
