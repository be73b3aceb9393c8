/**
 * Takes what a person or a backend entered to link an account apart, by the connector's declaration: settings on one
 * side, secrets on the other. By declaration, not by name: what is not declared is refused, however harmless it
 * looks, because nobody knows whether it is a secret.
 */
import { FabricError } from "../errors/errors.ts";
import type { LinkDeclaration, LinkField } from "./declaration.ts";
import { MAX_SETTINGS_BYTES } from "./link.ts";

export interface LinkFields {
  /** Nested as declared. */
  readonly settings: Record<string, unknown>;
  /** By declared name, such as `sasl.password`. */
  readonly secrets: ReadonlyMap<string, string>;
}

const MAX_FIELDS = 64;
const MAX_DEPTH = 4;
const MAX_LIST = 500;
/** Longest remainder of a name like `channel_key:*`, bytes. */
const MAX_NAME_BYTES = 264;

/** @throws FabricError `request.invalid` naming the field; values are not repeated */
export function takeLinkFields(
  declaration: LinkDeclaration,
  given: Readonly<Record<string, unknown>>,
): LinkFields {
  const settings: Record<string, unknown> = {};
  const secrets = new Map<string, string>();
  let count = 0;
  for (const [path, value] of leavesOf(given, [], 1)) {
    const name = path.join(".");
    if (++count > MAX_FIELDS) refuse(`there are more than ${MAX_FIELDS} fields`);
    const field = fieldOf(declaration, name);
    if (field === undefined) refuse(`${quoted(name)} is not a field of ${declaration.name}`);
    if (value === "") continue;
    checkField(field, name, value);
    if (field.secret) secrets.set(name, value as string);
    else place(settings, field.name.includes("*") ? [name] : name.split("."), value);
  }
  if (Buffer.byteLength(JSON.stringify(settings)) > MAX_SETTINGS_BYTES) {
    refuse(`the settings are larger than ${MAX_SETTINGS_BYTES} bytes together`);
  }
  return { settings, secrets };
}

/** The declared field that a name belongs to. */
export function fieldOf({ fields }: LinkDeclaration, name: string): LinkField | undefined {
  return fields.find((field) => {
    if (!field.name.endsWith("*")) return field.name === name;
    const start = field.name.slice(0, -1);
    const rest = name.slice(start.length);
    return name.startsWith(start) && rest !== "" && isLine(rest) && Buffer.byteLength(rest) <= MAX_NAME_BYTES;
  });
}

/** Holds one value against its field. @throws FabricError `request.invalid` naming the field */
export function checkField(field: LinkField, name: string, value: unknown): void {
  if (field.secret && typeof value !== "string") refuse(`${quoted(name)} is not text`);
  const isRight = SYNTAX[field.syntax](value);
  if (!isRight) refuse(`${quoted(name)} ${MUST[field.syntax]}`);
  if (Buffer.byteLength(typeof value === "string" ? value : JSON.stringify(value)) > field.max_bytes) {
    refuse(`${quoted(name)} is longer than ${field.max_bytes} bytes`);
  }
}

const SYNTAX: Readonly<Record<LinkField["syntax"], (value: unknown) => boolean>> = {
  word: (value) => isText(value) && isLine(value) && !/\s/.test(value),
  line: (value) => isText(value) && isLine(value),
  text: (value) => isText(value) && !value.includes("\0"),
  integer: (value) => Number.isSafeInteger(value) || (isText(value) && /^-?[0-9]{1,15}$/.test(value)),
  boolean: (value) => typeof value === "boolean" || value === "true" || value === "false",
  list: (value) =>
    (isText(value) && isLine(value)) ||
    (Array.isArray(value) && value.length <= MAX_LIST && value.every((item) => isText(item) && isLine(item))),
};

const MUST: Readonly<Record<LinkField["syntax"], string>> = {
  word: "must be text without blanks, line breaks and control characters",
  line: "must be one line of text without control characters",
  text: "must be text without NUL",
  integer: "must be a whole number",
  boolean: "must be true or false",
  list: "must be a list of lines of text, or one line with commas",
};

function isText(value: unknown): value is string {
  return typeof value === "string" && value.isWellFormed();
}

function isLine(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return !/[\0-\x1F\x7F\u0085\u2028\u2029]/.test(text);
}

/** Objects are looked into; everything else is a value. */
function* leavesOf(
  object: Readonly<Record<string, unknown>>,
  path: readonly string[],
  depth: number,
): Generator<readonly [path: readonly string[], value: unknown]> {
  for (const [name, value] of Object.entries(object)) {
    const here = [...path, name];
    if (typeof value !== "object" || value === null || Array.isArray(value)) yield [here, value];
    else if (depth === MAX_DEPTH) refuse(`${quoted(here.join("."))} nests too deeply`);
    else yield* leavesOf(value as Record<string, unknown>, here, depth + 1);
  }
}

/** Every segment was declared, so none is `__proto__`. */
function place(settings: Record<string, unknown>, [first, ...rest]: readonly string[], value: unknown): void {
  if (first === undefined) return;
  if (rest.length === 0) {
    settings[first] = value;
    return;
  }
  const inner = settings[first];
  const object = typeof inner === "object" && inner !== null ? (inner as Record<string, unknown>) : {};
  settings[first] = object;
  place(object, rest, value);
}

/** A name as it may stand in a sentence, whatever somebody sent as one. */
function quoted(name: string): string {
  const short = name.length > 80 ? `${name.slice(0, 80).toWellFormed()}…` : name;
  return JSON.stringify(short);
}

function refuse(detail: string): never {
  throw new FabricError("request.invalid", detail);
}
