/** Values at the edge of what a schema accepts, and just beyond it: one for each place that has a bound. */
import type { z } from "zod";
import type { $ZodTypes } from "zod/v4/core";
import { LIMITS } from "../payloads/limits.ts";
import { CHANNEL_REF, IDENTITY_REF } from "../names/refs.ts";

export interface Edge {
  /** Where, such as `entities[].offset`. */
  readonly at: string;
  readonly value: unknown;
  /** Undefined where there is nothing beyond, as for a choice. */
  readonly beyond: unknown;
}

const CHANNEL_START = "msgr://channels/acme/bridge/irc/net/";
const IDENTITY_START = "msgr://identity/bridges/irc/net/";
/** Three bytes of UTF-8 and one code unit: a bound in characters would let three times too much in. */
const WIDE = "\uFFFD";

/**
 * @param valid a value that the schema accepts; each edge is this value with one place changed
 * @throws TypeError for a kind of schema that it does not know
 */
export function edgesOf(schema: z.core.$ZodType, valid: unknown, at = ""): Edge[] {
  const { def } = (schema as $ZodTypes)._zod;
  switch (def.type) {
    case "optional":
      return edgesOf(def.innerType, valid, at);
    case "object":
      return Object.entries(def.shape).flatMap(([name, member]) =>
        edgesOf(member, (valid as Record<string, unknown>)[name] ?? exampleOf(member), `${at}.${name}`).map(
          (edge) => within(edge, (inner) => ({ ...(valid as object), [name]: inner })),
        ),
      );
    case "array":
      return arrays(def.element, def.checks ?? [], valid as readonly unknown[], at);
    case "string":
      return strings(def.checks ?? [], at);
    case "number":
      return numbers(def.checks ?? [], at);
    case "custom":
      return [{ at, value: { k: "x" }, beyond: { k: "x".repeat(LIMITS.objectBytes + 1) } }];
    case "union":
      return edgesOf(def.options[0] as z.core.$ZodType, valid, at);
    case "boolean":
    case "literal":
    case "enum":
    case "unknown":
    case "record":
      return [];
    default:
      throw new TypeError(`no edges for a schema of type ${def.type}`);
  }
}

function within(edge: Edge, put: (inner: unknown) => unknown): Edge {
  return {
    ...edge,
    value: put(edge.value),
    beyond: edge.beyond === undefined ? undefined : put(edge.beyond),
  };
}

interface Check {
  readonly check: string;
  readonly pattern?: RegExp;
  readonly maximum?: number;
  readonly value?: number;
}

function checksOf(checks: readonly z.core.$ZodCheck<never>[]): Check[] {
  return checks.map((check) => check._zod.def as unknown as Check);
}

function strings(given: readonly z.core.$ZodCheck<never>[], at: string): Edge[] {
  const checks = checksOf(given);
  const maximum = checks.find((check) => check.maximum !== undefined)?.maximum;
  const pattern = checks.find((check) => check.pattern !== undefined)?.pattern;
  if (maximum === undefined) return [];
  if (pattern !== undefined) {
    const start = startOf(pattern);
    return [{ at, value: start.padEnd(maximum, "ab"), beyond: start.padEnd(maximum + 2, "ab") }];
  }
  const wide = WIDE.repeat(Math.floor(maximum / 3));
  return [
    { at: `${at} (ASCII)`, value: "x".repeat(maximum), beyond: "x".repeat(maximum + 1) },
    { at: `${at} (wide)`, value: wide, beyond: `${wide}${WIDE}` },
    { at: `${at} (NUL)`, value: "x", beyond: "x\0" },
  ];
}

function startOf(pattern: RegExp): string {
  if (pattern.source === CHANNEL_REF.source) return CHANNEL_START;
  if (pattern.source === IDENTITY_REF.source) return IDENTITY_START;
  return "";
}

function numbers(given: readonly z.core.$ZodCheck<never>[], at: string): Edge[] {
  const checks = checksOf(given);
  const below = checks.filter((check) => check.check === "less_than" && check.value !== undefined);
  const most = Math.min(Number.MAX_SAFE_INTEGER, ...below.map((check) => check.value as number));
  return [{ at, value: most, beyond: most + 1 }];
}

function arrays(
  element: z.core.$ZodType,
  given: readonly z.core.$ZodCheck<never>[],
  valid: readonly unknown[],
  at: string,
): Edge[] {
  const maximum = checksOf(given).find((check) => check.maximum !== undefined)?.maximum;
  const item = valid[0] ?? exampleOf(element);
  const inner = edgesOf(element, item, `${at}[]`).map((edge) => within(edge, (one) => [one]));
  if (maximum === undefined) return inner;
  const many = (count: number) => Array.from({ length: count }, (_, index) => varied(item, index));
  return [...inner, { at: `${at} (count)`, value: many(maximum), beyond: many(maximum + 1) }];
}

/** Rows with one key would not all be stored, and form fields with one name are refused. */
function varied(item: unknown, index: number): unknown {
  if (typeof item !== "object" || item === null) return item;
  if ("ref" in item && "kind" in item) return { ...item, ref: `${String(item.ref)}${index}` };
  if ("name" in item && "label" in item) return { ...item, name: `${String(item.name)}${index}` };
  return item;
}

/** The smallest value that a schema accepts. */
export function exampleOf(schema: z.core.$ZodType): unknown {
  const { def } = (schema as $ZodTypes)._zod;
  switch (def.type) {
    case "optional":
      return exampleOf(def.innerType);
    case "object":
      return Object.fromEntries(
        Object.entries(def.shape)
          .filter(([, member]) => member._zod.def.type !== "optional")
          .map(([name, member]) => [name, exampleOf(member)]),
      );
    case "array":
      return checksOf(def.checks ?? []).some((check) => check.check === "min_length")
        ? [exampleOf(def.element)]
        : [];
    case "string":
      return exampleText(checksOf(def.checks ?? []));
    case "number":
      return leastOf(checksOf(def.checks ?? []));
    case "custom":
      return {};
    case "union":
      return exampleOf(def.options[0] as z.core.$ZodType);
    case "boolean":
      return false;
    case "literal":
      return def.values[0];
    case "enum":
      return Object.values(def.entries)[0];
    default:
      return "x";
  }
}

/** A bound may be drawn twice, the second time closer. */
function leastOf(checks: readonly Check[]): number {
  const bounds = checks.filter((check) => check.check === "greater_than").map((check) => check.value ?? 0);
  return bounds.length === 0 ? 0 : Math.max(...bounds);
}

const EXAMPLES = ["x", "A".repeat(43), "0".repeat(64), CHANNEL_START, IDENTITY_START].map((text) =>
  text.endsWith("/") ? `${text}x` : text,
);

function exampleText(checks: readonly Check[]): string {
  const pattern = checks.find((check) => check.pattern !== undefined)?.pattern;
  if (pattern !== undefined) return EXAMPLES.find((text) => pattern.test(text)) ?? "x";
  const isInstant = checks.length > 0 && checks.every((check) => check.check === "custom");
  return isInstant ? "2026-11-20T12:00:00.000Z" : "x";
}
