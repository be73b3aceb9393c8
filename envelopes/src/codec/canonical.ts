/**
 * RFC 8785 (JCS): the one byte form of a JSON value. Members sorted by UTF-16 code units, no white
 * space, shortest escapes, UTF-8.
 */
import { FabricError } from "../errors/errors.ts";

/** Also ends a cycle. Far above what an envelope may nest; JSON from files may go deeper than that. */
const MAX_DEPTH = 512;

/** Characters that a JSON string must escape, and surrogates, which must come in pairs. */
const NEEDS_CARE = /["\\\u0000-\u001f\ud800-\udfff]/;

/**
 * How often the names of a parsed canonical object can fall from one to the next. The engine lists names that
 * are integers first, by value, which is their order as texts only among those of equal length: ten lengths.
 */
const MAX_FALLS_IF_CANONICAL = 10;

/**
 * The UTF-8 bytes of {@link canonicalText}.
 *
 * @throws FabricError `envelope.not_canonical`
 */
export function canonical(value: unknown): Uint8Array {
  return Buffer.from(canonicalText(value), "utf8");
}

/**
 * Refuses whatever JSON cannot hold faithfully: `undefined`, functions, symbols, bigints, `NaN`,
 * infinities, `-0`, lone surrogates, holes in arrays, and every object that is not plain (`Map`, `Date`,
 * anything with a prototype of its own).
 *
 * @throws FabricError `envelope.not_canonical`
 */
export function canonicalText(value: unknown): string {
  return write(value, 0, Infinity);
}

/** Whether `text` is the canonical form of what it parses to. Linear: members far out of order are not sorted. */
export function isCanonicalText(parsed: unknown, text: string): boolean {
  try {
    return write(parsed, 0, MAX_FALLS_IF_CANONICAL) === text;
  } catch (error) {
    if (error instanceof FabricError) return false;
    throw error;
  }
}

function write(value: unknown, depth: number, maxFalls: number): string {
  switch (typeof value) {
    case "string":
      return quote(value);
    case "number":
      return writeNumber(value);
    case "boolean":
      return value ? "true" : "false";
    case "object":
      if (value === null) return "null";
      if (depth >= MAX_DEPTH) throw refuse("a value that nests too deeply or contains itself");
      return Array.isArray(value)
        ? writeArray(value, depth + 1, maxFalls)
        : writeObject(value, depth + 1, maxFalls);
    default:
      throw refuse(`a value of type ${typeof value}`);
  }
}

function quote(text: string): string {
  if (!NEEDS_CARE.test(text)) return `"${text}"`;
  if (!text.isWellFormed()) throw refuse("a lone surrogate");
  return JSON.stringify(text);
}

function writeNumber(value: number): string {
  if (!Number.isFinite(value)) throw refuse("a number that is not finite");
  if (Object.is(value, -0)) throw refuse("negative zero");
  return String(value);
}

function writeArray(items: readonly unknown[], depth: number, maxFalls: number): string {
  if (Object.getPrototypeOf(items) !== Array.prototype) throw refuse("an array of a class");
  if (items.length === 0) return "[]";
  let text = `[${write(items[0], depth, maxFalls)}`;
  for (let i = 1; i < items.length; i++) text += `,${write(items[i], depth, maxFalls)}`;
  return `${text}]`;
}

function writeObject(object: object, depth: number, maxFalls: number): string {
  const prototype: unknown = Object.getPrototypeOf(object);
  if (prototype !== Object.prototype && prototype !== null) throw refuse("an object that is not plain");
  const members = object as Readonly<Record<string, unknown>>;
  const names = sorted(Object.keys(members), maxFalls);
  const first = names[0];
  if (first === undefined) return "{}";
  let text = `{${quote(first)}:${write(members[first], depth, maxFalls)}`;
  for (let i = 1; i < names.length; i++) {
    const name = names[i] as string;
    text += `,${quote(name)}:${write(members[name], depth, maxFalls)}`;
  }
  return `${text}}`;
}

/** The default order of strings is that of their UTF-16 code units, which is the order JCS wants. */
function sorted(names: string[], maxFalls: number): string[] {
  let falls = 0;
  for (let i = 1; i < names.length; i++) if ((names[i - 1] as string) > (names[i] as string)) falls++;
  if (falls > maxFalls) throw refuse("members out of order");
  return falls === 0 ? names : names.sort();
}

function refuse(what: string): FabricError {
  return new FabricError("envelope.not_canonical", `JSON cannot hold ${what}`);
}
