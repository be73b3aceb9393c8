/**
 * One pass over received bytes before anything else reads them: how deep they nest, and whether they are
 * certainly canonical, so that most envelopes need not be written out again to be compared.
 *
 * "Certainly" presumes that the bytes turn out to be JSON: no white space, shortest escapes, safe integers in
 * their only spelling, the names of each object strictly ascending. Where telling takes more than a look at
 * bytes (names with escapes or high characters, other numbers) the answer is "perhaps not".
 */
export interface Scan {
  /** True: deeper than `maxDepth`; the rest was not looked at. */
  readonly tooDeep: boolean;
  /** True: canonical, if it is JSON. */
  readonly canonical: boolean;
  /** True: no string holds NUL and every number is a safe integer, if it is JSON. */
  readonly plain: boolean;
}

const QUOTE = 0x22;
const PLUS = 0x2b;
const COMMA = 0x2c;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_ARRAY = 0x5d;
const LOWER_A = 0x61;
const LOWER_E = 0x65;
const LOWER_F = 0x66;
const LOWER_U = 0x75;
const LOWER_Z = 0x7a;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** From here on the order of UTF-8 bytes is no longer that of UTF-16 code units. */
const HIGH = 0xee;

/** The largest safe integer, 2^53 - 1; fewer digits are always safe, and any safe integer has one spelling. */
const LARGEST = Buffer.from("9007199254740991");

/** Doubts: perhaps not canonical, perhaps not plain. */
const UNSURE = 1;
const ODD = 2;

const TOO_DEEP: Scan = { tooDeep: true, canonical: false, plain: false };
const RESULTS: readonly Scan[] = [0, UNSURE, ODD, UNSURE | ODD].map((doubts) => ({
  tooDeep: false,
  canonical: (doubts & UNSURE) === 0,
  plain: (doubts & ODD) === 0,
}));

/** Instead of where an open object's last name starts. */
const NO_NAME_YET = -1;
const IS_ARRAY = -2;

/** Visits each byte once, and those of a name twice more. */
export function scan(bytes: Uint8Array, maxDepth: number): Scan {
  const { length } = bytes;
  const nameStart: number[] = [IS_ARRAY];
  const nameEnd: number[] = [0];
  let depth = 0;
  let doubts = 0;
  let isName = false;
  let i = 0;
  while (i < length) {
    const byte = bytes[i] as number;
    if (byte === QUOTE) {
      const start = i + 1;
      let end = start;
      let hasEscapes = false;
      for (; end < length; end++) {
        const inside = bytes[end];
        if (inside === QUOTE) break;
        if (inside === BACKSLASH) {
          hasEscapes = true;
          end++;
        }
      }
      if (hasEscapes) doubts |= doubtsInEscapes(bytes, start, end);
      if (isName) {
        const last = nameStart[depth] as number;
        if (hasEscapes || !isLow(bytes, start, end)) doubts |= UNSURE;
        else if (last >= 0 && !isBefore(bytes, last, nameEnd[depth] as number, start, end)) doubts |= UNSURE;
        nameStart[depth] = start;
        nameEnd[depth] = end;
        isName = false;
      }
      i = end + 1;
    } else if (byte === COMMA) {
      isName = nameStart[depth] !== IS_ARRAY;
      i++;
    } else if (byte === COLON) {
      i++;
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      if (++depth > maxDepth) return TOO_DEEP;
      isName = byte === OPEN_OBJECT;
      nameStart[depth] = isName ? NO_NAME_YET : IS_ARRAY;
      i++;
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      if (depth > 0) depth--;
      isName = false;
      i++;
    } else if (byte === MINUS || isDigit(byte)) {
      const end = endOfNumber(bytes, i + 1);
      if (!isSafeInteger(bytes, i, end)) doubts |= UNSURE | ODD;
      i = end;
    } else {
      // true, false, null; anything else is white space or no JSON.
      if (byte < LOWER_A || byte > LOWER_Z) doubts |= UNSURE;
      i++;
    }
  }
  return RESULTS[doubts] as Scan;
}

function doubtsInEscapes(bytes: Uint8Array, start: number, end: number): number {
  let doubts = 0;
  for (let i = start; i < end; i++) {
    if (bytes[i] !== BACKSLASH) continue;
    i++;
    if (bytes[i] === LOWER_U) doubts |= doubtsInHex(bytes, i + 1);
    else if (bytes[i] === 0x2f) doubts |= UNSURE; // "\/"
  }
  return doubts;
}

/** Only control characters that have no short escape are written `\u00xx`, in lower case. */
function doubtsInHex(bytes: Uint8Array, at: number): number {
  const high = bytes[at + 2] as number;
  const low = bytes[at + 3] as number;
  if (bytes[at] !== ZERO || bytes[at + 1] !== ZERO || (high !== ZERO && high !== ZERO + 1)) return UNSURE;
  const isLetter = low >= LOWER_A && low <= LOWER_F;
  if (!isLetter && !isDigit(low)) return UNSURE;
  const code = (high - ZERO) * 16 + (isLetter ? low - LOWER_A + 10 : low - ZERO);
  if (code === 0) return ODD;
  return code === 8 || code === 9 || code === 10 || code === 12 || code === 13 ? UNSURE : 0;
}

function isLow(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if ((bytes[i] as number) >= HIGH) return false;
  return true;
}

/** Whether one name sorts strictly before another. */
function isBefore(bytes: Uint8Array, aStart: number, aEnd: number, bStart: number, bEnd: number): boolean {
  const shorter = Math.min(aEnd - aStart, bEnd - bStart);
  for (let i = 0; i < shorter; i++) {
    const difference = (bytes[aStart + i] as number) - (bytes[bStart + i] as number);
    if (difference !== 0) return difference < 0;
  }
  return aEnd - aStart < bEnd - bStart;
}

function endOfNumber(bytes: Uint8Array, from: number): number {
  let i = from;
  for (; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    const isPart =
      isDigit(byte) || byte === POINT || byte === PLUS || byte === MINUS || (byte | 0x20) === LOWER_E;
    if (!isPart) break;
  }
  return i;
}

function isSafeInteger(bytes: Uint8Array, start: number, end: number): boolean {
  const from = bytes[start] === MINUS ? start + 1 : start;
  if (end - from > LARGEST.length || (from > start && bytes[from] === ZERO)) return false;
  for (let i = from; i < end; i++) if (!isDigit(bytes[i] as number)) return false;
  if (end - from < LARGEST.length) return true;
  for (let i = 0; i < LARGEST.length; i++) {
    const difference = (bytes[from + i] as number) - (LARGEST[i] as number);
    if (difference !== 0) return difference < 0;
  }
  return true;
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= NINE;
}
