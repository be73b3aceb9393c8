/**
 * The question whether a JSON value conforms to a Zod schema, answered quickly. Zod is the source: the schema is
 * compiled from its definition, a property test holds both to the same answers, and kinds of schema that are
 * not known here are put to Zod itself. Zod's own parsing copies each value and collects every fault; on the
 * hot path neither is wanted.
 */
import type { z } from "zod";
import type { $ZodCheckDef, $ZodTypes } from "zod/v4/core";

export type Accepts = (value: unknown) => boolean;

const CACHE = new WeakMap<z.core.$ZodType, Accepts>();

/** Compiled once per schema. */
export function acceptsOf(schema: z.core.$ZodType): Accepts {
  const known = CACHE.get(schema);
  if (known !== undefined) return known;
  const accepts = compile(schema);
  CACHE.set(schema, accepts);
  return accepts;
}

function compile(schema: z.core.$ZodType): Accepts {
  const { def } = (schema as $ZodTypes)._zod;
  const checks = checksOf(def.checks ?? []);
  const base = checks === undefined ? undefined : compileKind(schema as $ZodTypes);
  if (checks === undefined || base === undefined) return (value) => askZod(schema, value);
  if (checks.length === 0) return base;
  const [only, ...more] = checks as [Accepts, ...Accepts[]];
  if (more.length === 0) return (value) => base(value) && only(value);
  return (value) => base(value) && checks.every((check) => check(value));
}

function compileKind(schema: $ZodTypes): Accepts | undefined {
  const { def } = schema._zod;
  switch (def.type) {
    case "string":
      return "format" in def ? undefined : (value) => typeof value === "string";
    case "number":
      return "format" in def && def.format === "safeint" ? Number.isSafeInteger : undefined;
    case "boolean":
      return (value) => typeof value === "boolean";
    case "literal":
      return oneOf(def.values);
    case "enum":
      return oneOf(Object.values(def.entries));
    case "optional":
      return acceptsOf(def.innerType);
    case "array":
      return arrayOf(acceptsOf(def.element));
    case "union":
      return anyOf(def.options.map(acceptsOf));
    case "object":
      return compileObject(def.shape, def.catchall?._zod.def.type);
    case "custom":
      return (value) => (def.fn as Accepts)(value) === true;
    default:
      return undefined;
  }
}

/** @returns undefined when one of them is of an unknown kind */
function checksOf(checks: readonly z.core.$ZodCheck<never>[]): Accepts[] | undefined {
  const compiled = checks.map(({ _zod }) => compileCheck(_zod.def as $ZodCheckDef & Record<string, unknown>));
  return compiled.every((check) => check !== undefined) ? compiled : undefined;
}

function compileCheck(def: $ZodCheckDef & Record<string, unknown>): Accepts | undefined {
  if (def.check === "string_format" && def.format === "regex") {
    const pattern = def.pattern as RegExp;
    return pattern.global || pattern.sticky ? undefined : (value) => pattern.test(value as string);
  }
  if (def.check === "min_length")
    return (value) => (value as { length: number }).length >= Number(def.minimum);
  if (def.check === "max_length")
    return (value) => (value as { length: number }).length <= Number(def.maximum);
  if (def.check === "less_than" && def.inclusive === true)
    return (value) => Number(value) <= Number(def.value);
  if (def.check === "greater_than" && def.inclusive === true)
    return (value) => Number(value) >= Number(def.value);
  if (def.check === "number_format") return def.format === "safeint" ? Number.isSafeInteger : undefined;
  // A refinement of ours: it returns whether the value passes.
  if (def.check === "custom" && typeof def.fn === "function") {
    const fn = def.fn as Accepts;
    return (value) => fn(value) === true;
  }
  return undefined;
}

function compileObject(shape: Shape, catchall: string | undefined): Accepts | undefined {
  if (catchall === "never") return objectOf(shape, true);
  return catchall === "unknown" ? objectOf(shape, false) : undefined;
}

type Shape = Readonly<Record<string, z.core.$ZodType>>;

function objectOf(shape: Shape, isClosed: boolean): Accepts {
  const members = Object.entries(shape).map(([name, schema]) => ({
    name,
    accepts: acceptsOf(schema),
    isOptional: schema._zod.def.type === "optional",
  }));
  return (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
    const object = value as Readonly<Record<string, unknown>>;
    let known = 0;
    for (const member of members) {
      const item = object[member.name];
      if (item === undefined) {
        if (!member.isOptional) return false;
      } else {
        if (!member.accepts(item)) return false;
        known++;
      }
    }
    if (!isClosed) return true;
    for (const _ in object) known--;
    return known === 0;
  };
}

function arrayOf(accepts: Accepts): Accepts {
  return (value) => Array.isArray(value) && value.every((item) => accepts(item));
}

function anyOf(options: readonly Accepts[]): Accepts {
  return (value) => options.some((accepts) => accepts(value));
}

function oneOf(values: readonly unknown[]): Accepts {
  const [only] = values;
  if (values.length === 1) return (value) => value === only;
  const all = new Set(values);
  return (value) => all.has(value);
}

function askZod(schema: z.core.$ZodType, value: unknown): boolean {
  return (schema as z.ZodType).safeParse(value).success;
}
