import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { acceptsOf } from "./accepts.ts";
import { actionsOf, SERVICES } from "../names/actions.ts";
import { valuesOf } from "../testing/arbitrary.ts";
import { EnvelopeSchema } from "./envelope.ts";

const actions = SERVICES.flatMap(actionsOf);
const schemas = [
  ["envelope", EnvelopeSchema] as const,
  ...actions.map((action) => [`${action.service} ${action.name}`, action.payload] as const),
  ...actions.flatMap((action) =>
    action.reply === undefined ? [] : [[`${action.service} ${action.name} reply`, action.reply] as const],
  ),
];

test.each(schemas)("%s: gives the answers of Zod", (_name, schema) => {
  const accepts = acceptsOf(schema);
  fc.assert(
    fc.property(valuesOf(schema), mutations, (value, mutate) => {
      expect(schema.safeParse(value).success).toBe(true);
      expect(accepts(value)).toBe(true);
      const other = mutate(value);
      expect(accepts(other)).toBe(schema.safeParse(other).success);
    }),
    { numRuns: 40 },
  );
});

test.each(["__proto__", "constructor", "toString", "hasOwnProperty", "extra"])(
  "a member %s is refused",
  (name) => {
    const schema = z.strictObject({ a: z.string(), b: z.string().exactOptional() });
    const value = JSON.parse(`{"a":"x","${name}":{"polluted":true}}`) as object;
    expect(acceptsOf(schema)(value)).toBe(false);
    expect(schema.safeParse(value).success).toBe(false);
  },
);

test("asks Zod about what it does not know", () => {
  const odd = z.strictObject({
    at: z.string().max(3),
    n: z.number().multipleOf(5),
    more: z.looseObject({ a: z.null() }),
  });
  const value = { at: "abc", n: 10, more: { a: null, b: 1 } };
  expect(acceptsOf(odd)(value)).toBe(true);
  for (const wrong of [
    { ...value, at: "abcd" },
    { ...value, n: 7 },
    { ...value, more: { a: 1 } },
  ]) {
    expect(acceptsOf(odd)(wrong)).toBe(false);
  }
});

type Mutate = (value: unknown) => unknown;

/** Changes one thing somewhere: another value, a member more, a member less. */
const mutations: fc.Arbitrary<Mutate> = fc
  .record({
    path: fc.array(fc.nat(), { maxLength: 4 }),
    kind: fc.constantFrom("replace", "add", "remove"),
    value: fc.oneof(fc.jsonValue(), fc.constantFrom(-0, 0, -1, 1.5, 2 ** 53, "", "x")),
  })
  .map(
    ({ path, kind, value }) =>
      (root) =>
        change(root, path, kind, value),
  );

function change(root: unknown, path: readonly number[], kind: string, value: unknown): unknown {
  if (typeof root !== "object" || root === null) return value;
  const names = Object.keys(root);
  const [step, ...rest] = path;
  const name = names[(step ?? 0) % Math.max(1, names.length)];
  const copy: Record<string, unknown> | unknown[] = Array.isArray(root)
    ? [...(root as unknown[])]
    : { ...root };
  const members = copy as Record<string, unknown>;
  if (name === undefined || (rest.length === 0 && kind === "add")) members.added = value;
  else if (rest.length > 0) members[name] = change(members[name], rest, kind, value);
  else if (kind === "remove" && !Array.isArray(copy)) delete members[name];
  else members[name] = value;
  return copy;
}
