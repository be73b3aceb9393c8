/** Parses a line of bytes as JSON, and refuses what a lenient parser would change silently. */
import { isUtf8 } from "node:buffer";
import { FabricError } from "@linkspan/envelopes";

/**
 * @throws FabricError `envelope.not_utf8` (also for a byte order mark), `envelope.malformed` (not JSON),
 *   `envelope.not_canonical` (a member that appears twice: the parser would keep the last of them)
 */
export function parseLine(line: Uint8Array): unknown {
  if (!isUtf8(line)) throw new FabricError("envelope.not_utf8", "the line is not UTF-8");
  const text = Buffer.from(line.buffer, line.byteOffset, line.byteLength).toString("utf8");
  if (text.startsWith("\uFEFF")) {
    throw new FabricError("envelope.not_utf8", "the line starts with a byte order mark");
  }
  const value = parse(text);
  if (membersKept(value) !== membersWritten(text)) {
    throw new FabricError("envelope.not_canonical", "a member appears twice in one object");
  }
  return value;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own message quotes the line, which may be private.
    throw new FabricError("envelope.malformed", "the line is not JSON");
  }
}

/** In valid JSON each member has one colon outside strings. */
function membersWritten(text: string): number {
  let members = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (inString) {
      if (unit === BACKSLASH) at++;
      else if (unit === QUOTE) inString = false;
    } else if (unit === QUOTE) inString = true;
    else if (unit === COLON) members++;
  }
  return members;
}

/** Without recursion: `JSON.parse` accepts any depth of nesting. */
function membersKept(value: unknown): number {
  let members = 0;
  const open: unknown[] = [value];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (typeof next !== "object" || next === null) continue;
    const values: unknown[] = Object.values(next);
    if (!Array.isArray(next)) members += values.length;
    for (const inner of values) if (typeof inner === "object" && inner !== null) open.push(inner);
  }
  return members;
}

const QUOTE = 0x22;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
