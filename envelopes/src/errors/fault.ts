/** Why a value does not conform: the first fault, where it is and of what kind, never what stands there. */
import type { z } from "zod";
import type { $ZodTypes } from "zod/v4/core";
import { acceptsOf } from "../codec/accepts.ts";

type Schema = z.core.$ZodType;
type Shape = Readonly<Record<string, Schema>>;

/**
 * Linear, and done at the first fault; Zod would collect them all, which a hostile sender could make long.
 *
 * @param value not accepted by the schema
 * @param at path to it, empty at the top
 */
export function faultOf(schema: Schema, value: unknown, at: string): string {
  const { def } = (schema as $ZodTypes)._zod;
  switch (def.type) {
    case "optional":
      return faultOf(def.innerType, value, at);
    case "object":
      return isObject(value) ? faultInMembers(def.shape, value, at) : told(at, "not an object");
    case "array":
      return Array.isArray(value) ? faultInItems(def.element, value, at) : told(at, "not an array");
    case "union":
      return faultOf(closest(def.options, value), value, at);
    case "number":
      return told(at, "not a whole number within its bounds");
    default:
      return told(at, `not a valid ${def.type}`);
  }
}

function faultInMembers(shape: Shape, object: Readonly<Record<string, unknown>>, at: string): string {
  for (const [name, schema] of Object.entries(shape)) {
    const path = at === "" ? name : `${at}.${name}`;
    if (!Object.hasOwn(object, name)) {
      if (schema._zod.def.type !== "optional") return told(path, "missing");
    } else if (!acceptsOf(schema)(object[name])) return faultOf(schema, object[name], path);
  }
  return told(at, "a member that is not known");
}

function faultInItems(element: Schema, items: readonly unknown[], at: string): string {
  const index = items.findIndex((item) => !acceptsOf(element)(item));
  return index < 0 ? told(at, "not a valid array") : faultOf(element, items[index], `${at}.${index}`);
}

/** Of several forms the one that shares most members with the value: that is what was meant. */
function closest(options: readonly Schema[], value: unknown): Schema {
  const scores = options.map((option) => (isObject(value) ? sharedMembers(option, value) : 0));
  return options[scores.indexOf(Math.max(...scores))] as Schema;
}

function sharedMembers(option: Schema, value: object): number {
  const { def } = (option as $ZodTypes)._zod;
  if (def.type === "union") return Math.max(...def.options.map((one) => sharedMembers(one, value)));
  if (def.type !== "object") return -1;
  return Object.keys(def.shape).filter((name) => Object.hasOwn(value, name)).length;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function told(at: string, what: string): string {
  return `${at === "" ? "envelope" : at}: ${what}`;
}
