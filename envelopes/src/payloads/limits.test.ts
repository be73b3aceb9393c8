/** Every place of every payload has an end, and the schema says where. */
import type { z } from "zod";
import type { $ZodTypes } from "zod/v4/core";
import { expect, test } from "vitest";
import { acceptsOf } from "../codec/accepts.ts";
import { actionsOf, SERVICES } from "../names/actions.ts";
import { EnvelopeSchema } from "../codec/envelope.ts";
import { check } from "../codec/check.ts";
import { codeOf, event, eventWith } from "../sample.ts";
import { DeliveryStatusesSchema, DeliveryStatusSchema } from "./status.ts";
import { AttemptBatchSchema, AttemptRequestSchema } from "./core.ts";
import { edgesOf, exampleOf } from "../testing/edges.ts";
import { parse } from "../codec/strict-json.ts";

const schemas = SERVICES.flatMap((service) => actionsOf(service)).flatMap((action) => [
  [`${action.service} ${action.name}`, action.payload] as const,
  ...(action.reply === undefined ? [] : [[`${action.service} ${action.name} reply`, action.reply] as const]),
]);

/**
 * Open objects and single values that only the envelope's size bounds: no column holds them by themselves. Members of a
 * history are each held to the bounds of an event where they become one.
 */
const BOUNDED_BY_THE_ENVELOPE =
  /\.(?:native|metadata|envelope|payload|entities\[\]|events\[\]|media|content|routing|sender|body)$/;

function unbounded(schema: z.core.$ZodType, at = ""): string[] {
  const { def } = (schema as $ZodTypes)._zod;
  const checks = (def.checks ?? []).map(
    (one) =>
      one._zod.def as unknown as { check: string; maximum?: number; pattern?: RegExp; format?: string },
  );
  const isBounded = checks.some((one) => one.maximum !== undefined);
  switch (def.type) {
    case "optional":
      return unbounded(def.innerType, at);
    case "object":
      return Object.entries(def.shape).flatMap(([name, member]) => unbounded(member, `${at}.${name}`));
    case "union":
      return def.options.flatMap((option) => unbounded(option, at));
    case "array":
      return [...(isBounded ? [] : [at]), ...unbounded(def.element, `${at}[]`)];
    case "string": {
      const text = checks.find((one) => one.pattern !== undefined)?.pattern?.source ?? "";
      // A pattern without a repetition that is open ends by itself, and so does an instant.
      const ends = isBounded || (text !== "" && !/[+*]\$?\)?\$?$|[+*]\//.test(text)) || isInstant(schema);
      return ends ? [] : [at];
    }
    case "custom":
      return BOUNDED_BY_THE_ENVELOPE.test(at) || !acceptsOf(schema)({ k: "x".repeat(600_000) }) ? [] : [at];
    default:
      return [];
  }
}

function isInstant(schema: z.core.$ZodType): boolean {
  return acceptsOf(schema)("2026-11-20T12:00:00.000Z") && !acceptsOf(schema)("x");
}

test.each(schemas)("%s: every string, list and open object has a bound", (_, schema) => {
  expect(unbounded(schema)).toEqual([]);
});

test("the envelope's own members have bounds", () => {
  expect(unbounded(EnvelopeSchema)).toEqual([]);
});

/** The objects that a schema accepts: itself, or each of its forms. */
function formsOf(name: string, schema: z.core.$ZodType): [name: string, schema: z.core.$ZodType][] {
  const { def } = (schema as $ZodTypes)._zod;
  if (def.type === "union")
    return def.options.flatMap((form, at) => formsOf(`${name}, form ${at + 1}`, form));
  return def.type === "object" ? [[name, schema]] : [];
}

test.each(schemas.flatMap(([name, schema]) => formsOf(name, schema)))(
  "%s: is accepted at its bounds and refused beyond them",
  (_, schema) => {
    const accepts = acceptsOf(schema);
    const example = exampleOf(schema);
    for (const { at, value, beyond } of edgesOf(schema, example)) {
      // Parts are held against each other, which the last test does; NUL is refused for the whole envelope.
      if (/\.parts?$/.test(at) || at.endsWith("(NUL)")) continue;
      expect(accepts(value), `${at} at its bound`).toBe(true);
      if (!BOUNDED_BY_THE_ENVELOPE.test(at)) expect(accepts(beyond), `${at} beyond its bound`).toBe(false);
      expect((schema as z.ZodType).safeParse(value).success, `${at} at its bound, by Zod`).toBe(true);
    }
  },
);

test.each([
  ["native", { ...event.payload, native: { x: "a\0" } }],
  ["a name", { ...event.payload, native: { "a\0": 1 } }],
  ["text", { ...event.payload, text: "a\0" }],
])("NUL is refused in %s", (_, payload) => {
  const text = new TextEncoder().encode(JSON.stringify(eventWith({ payload })));
  expect(codeOf(() => check(parse(text)))).toBe("envelope.schema");
});

test("a part lies within its message", () => {
  const status = {
    intent_id: "A".repeat(43),
    attempt: 1,
    part: 0,
    parts: 1,
    status: "sent",
    at: "2026-11-20T12:00:00.000Z",
  };
  const { status: _, at: __, ...ask } = status;
  const reported = { ...status, message_id: "A".repeat(43), identity_id: "alice" };
  for (const [schema, value, form] of [
    [DeliveryStatusSchema, status, (one: object) => one],
    [AttemptRequestSchema, ask, (one: object) => one],
    [DeliveryStatusesSchema, reported, (one: object) => ({ statuses: [reported, one] })],
    [AttemptBatchSchema, ask, (one: object) => ({ asks: [ask, one] })],
  ] as const) {
    const accepts = (one: object) => acceptsOf(schema)(form(one));
    expect(accepts({ ...value, part: 999, parts: 1_000 })).toBe(true);
    for (const wrong of [
      { part: 1, parts: 1 },
      { part: 1_000, parts: 1_001 },
      { part: 3_000_000_000, parts: 3_000_000_001 },
    ]) {
      expect(accepts({ ...value, ...wrong })).toBe(false);
    }
    expect(accepts({ ...value, attempt: 2_147_483_647 })).toBe(true);
    expect(accepts({ ...value, attempt: 2_147_483_648 })).toBe(false);
  }
});
