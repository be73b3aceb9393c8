import fc from "fast-check";
import { expect, test } from "vitest";
import { type CaseMapping, caseMappingOf, fold } from "./casemapping.ts";

const MAPPINGS: readonly CaseMapping[] = ["ascii", "rfc1459", "strict-rfc1459", "rfc7613"];

test.each([
  ["ascii", "#Ro[]\\^OM", "#ro[]\\^om"],
  ["rfc1459", "#Ro[]\\^OM", "#ro{}|~om"],
  ["strict-rfc1459", "#Ro[]\\^OM", "#ro{}|^om"],
  ["rfc7613", "#Ärger", "#ärger"],
  ["ascii", "#Ärger", "#Ärger"],
] as const)("%s folds %s to %s", (mapping, name, folded) => {
  expect(fold(name, mapping)).toBe(folded);
});

test("every mapping reads the letters A to Z in either case as one, as is declared to the core", () => {
  const letters = "#ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  for (const mapping of MAPPINGS) expect(fold(letters, mapping)).toBe(letters.toLowerCase());
});

test.each([
  [undefined, "rfc1459"],
  ["ascii", "ascii"],
  ["RFC1459", "rfc1459"],
  ["strict-rfc1459", "strict-rfc1459"],
  ["rfc1459-strict", "strict-rfc1459"],
  ["rfc7613", "rfc7613"],
  ["rfc8265", "rfc7613"],
  ["PRECIS", "rfc7613"],
  ["utf-9", "ascii"],
  ["", "ascii"],
  ["constructor", "ascii"],
] as const)("a server that says %s means %s", (token, mapping) => {
  expect(caseMappingOf(token)).toBe(mapping);
});

test("folding twice is folding once", () => {
  fc.assert(
    fc.property(fc.constantFrom(...MAPPINGS), fc.string({ unit: "grapheme" }), (mapping, name) => {
      expect(fold(fold(name, mapping), mapping)).toBe(fold(name, mapping));
    }),
  );
});
