/**
 * Bytes of a line as text. UTF-8 is read as such; a line that is mostly UTF-8 keeps it, and only its broken bytes are
 * replaced; any other is read in the connection's other encoding, which is a setting and not guessed.
 */
import { isUtf8 } from "node:buffer";

export const DEFAULT_ENCODING = "windows-1252";
const REPLACEMENT = "\uFFFD";
/** A server cuts at 512 bytes, or at what its own address leaves; a line this long may end in half a character. */
const CUT_FROM_BYTES = 400;

/** Whether an encoding is one that this process reads, byte by byte or in pairs; UTF-16 is no encoding of lines. */
export function isEncoding(label: string): boolean {
  try {
    return !/^(?:utf-16|replacement|x-user)/.test(new TextDecoder(label).encoding);
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** @param other label of the encoding of lines that are not UTF-8 */
export function lineDecoder(other: string = DEFAULT_ENCODING): (bytes: Buffer) => string {
  const legacy = new TextDecoder(other);
  return (bytes) => {
    const text = isUtf8(bytes) ? bytes.toString("utf8") : repaired(bytes, legacy);
    return text.replace(/[\r\0]/g, "");
  };
}

function repaired(bytes: Buffer, legacy: InstanceType<typeof TextDecoder>): string {
  const { whole, broken, endsCut } = countsOf(bytes);
  const isCut = broken === 1 && endsCut && bytes.length >= CUT_FROM_BYTES;
  // Two characters of Windows-1252 rarely look like one of UTF-8, so a single whole one tells much.
  if (legacy.encoding !== "utf-8" && !isCut && (whole === 0 || broken > whole)) return legacy.decode(bytes);
  // Node's decoder replaces each broken piece, and keeps what is whole.
  return bytes.toString("utf8").replace(/\uFFFD+/g, REPLACEMENT);
}

interface Counts {
  /** Characters of more than one byte. */
  readonly whole: number;
  /** Pieces that are no UTF-8. */
  readonly broken: number;
  /** The last piece is the beginning of a character. */
  readonly endsCut: boolean;
}

function countsOf(bytes: Buffer): Counts {
  let [whole, broken, endsCut, wasBroken] = [0, 0, false, false];
  const end = bytes.at(-1) === 0x0d ? bytes.length - 1 : bytes.length;
  for (let at = 0; at < end; ) {
    const size = sizeOf(bytes[at] ?? 0);
    const piece = bytes.subarray(at, Math.min(at + size, end));
    if (size > 1 && piece.length === size && isUtf8(piece)) whole += 1;
    else if (size !== 1) {
      if (!wasBroken) broken += 1;
      wasBroken = true;
      endsCut =
        size > 1 && piece.length < size && [...piece.subarray(1)].every((byte) => (byte & 0xc0) === 0x80);
      at += 1;
      continue;
    }
    wasBroken = false;
    at += size;
  }
  return { whole, broken, endsCut };
}

/** Bytes of the character that a byte begins; 0 for one that begins none. */
function sizeOf(first: number): number {
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}
