/** Values that conform to a schema, for property tests. Knows the kinds of schema that payloads are made of. */
import fc from "fast-check";
import type { z } from "zod";
import type { $ZodTypes } from "zod/v4/core";
import { Instant, OpenObject } from "../codec/envelope.ts";

const openObject = fc.dictionary(
  fc.string({ maxLength: 8 }),
  fc.oneof(fc.string(), fc.integer(), fc.boolean()),
  {
    maxKeys: 4,
    noNullPrototype: true,
  },
);

const known = new Map<z.core.$ZodType, fc.Arbitrary<unknown>>();

/** @throws TypeError for a kind of schema it does not know */
export function valuesOf(schema: z.core.$ZodType): fc.Arbitrary<unknown> {
  const values = known.get(schema) ?? make(schema);
  known.set(schema, values);
  return values;
}

function make(schema: z.core.$ZodType): fc.Arbitrary<unknown> {
  const { def } = (schema as $ZodTypes)._zod;
  if (isLike(schema, Instant)) return instants;
  if (isLike(schema, OpenObject)) return openObject;
  switch (def.type) {
    case "string":
      return strings((def.checks ?? []).map((check) => check._zod.def as unknown as StringCheck));
    case "number":
      return fc.integer({ min: smallest(def.checks ?? []), max: largest(def.checks ?? []) });
    case "boolean":
      return fc.boolean();
    case "literal":
      return fc.constantFrom(...def.values);
    case "enum":
      return fc.constantFrom(...Object.values(def.entries));
    case "array":
      return fc.array(valuesOf(def.element), { minLength: smallest(def.checks ?? []), maxLength: 3 });
    case "union":
      return fc.oneof(...def.options.map(valuesOf));
    case "custom":
      return openObject;
    case "unknown":
      return fc.oneof(fc.string(), fc.maxSafeInteger(), fc.constant(null), openObject);
    case "record":
      return fc.dictionary(valuesOf(def.keyType) as fc.Arbitrary<string>, valuesOf(def.valueType), {
        maxKeys: 3,
        noNullPrototype: true,
      });
    case "object":
      return objects(def.shape).filter((value) => refined(value, def.checks ?? []));
    default:
      throw new TypeError(`no values for a schema of type ${def.type}`);
  }
}

interface StringCheck {
  readonly check: string;
  readonly pattern?: RegExp;
  readonly minimum?: number;
  readonly maximum?: number;
}

const instants = fc
  .date({ min: new Date("1970-01-01"), max: new Date("9999-12-31"), noInvalidDate: true })
  .map((date) => date.toISOString());

/** A schema with other metadata is a clone that shares its checks or its test. */
function isLike(schema: z.core.$ZodType, model: z.core.$ZodType): boolean {
  const [a, b] = [schema._zod.def, model._zod.def] as { checks?: unknown[]; fn?: unknown }[];
  if (a?.fn !== undefined) return a.fn === b?.fn;
  return b?.checks?.[0] !== undefined && a?.checks?.[0] === b.checks[0];
}

function strings(checks: readonly StringCheck[]): fc.Arbitrary<string> {
  const pattern = checks.find((check) => check.pattern !== undefined)?.pattern;
  const maximum = Math.min(...checks.map((check) => check.maximum ?? 1_024));
  if (pattern !== undefined) return fc.stringMatching(pattern).filter((text) => text.length <= maximum);
  return fc.string({
    maxLength: Math.min(maximum, 32),
    minLength: checks.some((check) => check.check === "min_length") ? 1 : 0,
  });
}

function smallest(checks: readonly z.core.$ZodCheck<never>[]): number {
  const defs = checks.map(
    (check) => check._zod.def as unknown as { check?: string; value?: number; minimum?: number },
  );
  const least = (def: (typeof defs)[number]) =>
    (def.check === "greater_than" ? def.value : undefined) ?? def.minimum ?? 0;
  return defs.reduce((most, def) => Math.max(most, least(def)), 0);
}

function largest(checks: readonly z.core.$ZodCheck<never>[]): number {
  const defs = checks.map((check) => check._zod.def as unknown as { check?: string; value?: number });
  return defs.reduce(
    (most, def) => (def.check === "less_than" && def.value !== undefined ? Math.min(most, def.value) : most),
    Number.MAX_SAFE_INTEGER,
  );
}

/** The refinements of an object. */
function refined(value: unknown, checks: readonly z.core.$ZodCheck<never>[]): boolean {
  return checks.every((check) => {
    const { fn } = check._zod.def as unknown as { fn?: (value: unknown) => unknown };
    return fn === undefined || fn(value) === true;
  });
}

function objects(shape: Readonly<Record<string, z.core.$ZodType>>): fc.Arbitrary<unknown> {
  const entries = Object.entries(shape);
  const required = entries.filter(([, member]) => member._zod.def.type !== "optional").map(([name]) => name);
  const members = entries.map(([name, member]) => {
    const { def } = (member as $ZodTypes)._zod;
    return [name, valuesOf(def.type === "optional" ? def.innerType : member)] as const;
  });
  return fc.record(Object.fromEntries(members), { requiredKeys: required, noNullPrototype: true });
}
