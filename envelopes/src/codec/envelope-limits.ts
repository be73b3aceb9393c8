/** Limits that no schema contains: they hold at every place of an envelope (contract section 2). */
import { FabricError } from "../errors/errors.ts";
import type { Parsed } from "./strict-json.ts";

const MAX_MEMBERS = 4_096;
const MAX_STRING_BYTES = 65_536;

/** No text of this length has room for too many members or too long a string. */
const TOO_SHORT_TO_EXCEED = 16_384;

/** Members that hold what people wrote, or bytes; only the body's own size bounds them. */
const LONG_MEMBERS = new Set(["text", "message", "body", "stanza", "blob", "ct", "message_data", "payload"]);

/**
 * Members per object, bytes per string, no NUL, only safe integers.
 *
 * @throws FabricError `envelope.schema`
 */
export function checkLimits({ value, text, plain }: Parsed): void {
  if (plain && text.length <= TOO_SHORT_TO_EXCEED) return;
  const fault = faultIn(value, text.includes("\\u0000"), false);
  if (fault !== undefined) throw new FabricError("envelope.schema", fault);
}

/** @param maybeNul whether a string can hold NUL at all, known from the text */
function faultIn(value: unknown, maybeNul: boolean, long: boolean): string | undefined {
  switch (typeof value) {
    case "string":
      return faultInString(value, maybeNul, long);
    case "number":
      return Number.isSafeInteger(value)
        ? undefined
        : "a number is not a safe integer; it is written as a string";
    case "object":
      if (value === null) return undefined;
      return Array.isArray(value) ? faultInArray(value, maybeNul) : faultInObject(value, maybeNul);
    default:
      return undefined;
  }
}

function faultInString(value: string, maybeNul: boolean, long: boolean): string | undefined {
  if (maybeNul && value.includes("\0")) return "a string holds NUL";
  if (long || value.length * 3 <= MAX_STRING_BYTES) return undefined;
  return Buffer.byteLength(value) > MAX_STRING_BYTES
    ? `a string is longer than ${MAX_STRING_BYTES} bytes`
    : undefined;
}

function faultInArray(items: readonly unknown[], maybeNul: boolean): string | undefined {
  for (const item of items) {
    const fault = faultIn(item, maybeNul, false);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function faultInObject(object: object, maybeNul: boolean): string | undefined {
  const names = Object.keys(object);
  if (names.length > MAX_MEMBERS) return `an object has more than ${MAX_MEMBERS} members`;
  for (const name of names) {
    const fault =
      faultInString(name, maybeNul, false) ??
      faultIn((object as Record<string, unknown>)[name], maybeNul, LONG_MEMBERS.has(name));
    if (fault !== undefined) return fault;
  }
  return undefined;
}
