import canonicalize from "canonicalize";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { canonical, canonicalText, isCanonicalText } from "./canonical.ts";
import { codeOf } from "../sample.ts";

/** Values that both encoders accept: no lone surrogates, no -0, names of every kind. */
const json = fc
  .jsonValue({ stringUnit: "binary", maxDepth: 5 })
  .map((value) => JSON.parse(JSON.stringify(value)) as unknown);

test("agrees with an encoder that others wrote", () => {
  fc.assert(fc.property(json, (value) => canonicalText(value) === canonicalize(value)));
});

test("is what it parses to, and only that", () => {
  fc.assert(
    fc.property(json, (value) => {
      const text = canonicalText(value);
      expect(JSON.parse(text)).toEqual(value);
      expect(isCanonicalText(JSON.parse(text), text)).toBe(true);
      expect(isCanonicalText(JSON.parse(text), `${text} `)).toBe(false);
    }),
  );
});

test("sorts by UTF-16 code units, integer-like names included", () => {
  const names = ["\u20ac", "\r", "\ufb33", "1", "10", "9", "\u{1f600}", "\u0080", "\u00f6", "__proto__"];
  const object = JSON.parse(`{${names.map((name) => `${JSON.stringify(name)}:0`).join(",")}}`) as object;
  const sorted =
    '{"\\r":0,"1":0,"10":0,"9":0,"__proto__":0,"\u0080":0,"\u00f6":0,"\u20ac":0,"\u{1f600}":0,"\ufb33":0}';
  expect(canonicalText(object)).toBe(sorted);
  expect(isCanonicalText(JSON.parse(sorted), sorted)).toBe(true);
});

test("writes the shortest escapes and UTF-8", () => {
  const text = '\u0000\b\t\n\f\r\u001f"\\/\u007f\u2028\u{1f309}';
  expect(canonicalText(text)).toBe('"\\u0000\\b\\t\\n\\f\\r\\u001f\\"\\\\/\u007f\u2028\u{1f309}"');
  expect(Buffer.from(canonical("é")).toString("hex")).toBe("22c3a922");
});

class Point {
  x = 1;
}
const cycle: Record<string, unknown> = {};
cycle.self = cycle;
const sparse: unknown[] = [1];
sparse[2] = 3;

test.each<[string, unknown]>([
  ["undefined", undefined],
  ["a member that is undefined", { a: undefined }],
  ["a hole", sparse],
  ["NaN", Number.NaN],
  ["infinity", Infinity],
  ["-0", -0],
  ["a nested -0", [{ a: -0 }]],
  ["a bigint", 1n],
  ["a symbol", Symbol("s")],
  ["a function", { toJSON: () => 1 }],
  ["a Date", new Date(0)],
  ["a Map", new Map()],
  ["bytes", new Uint8Array(1)],
  ["an object of a class", new Point()],
  ["a boxed string", Object("s")],
  ["an array of a class", new (class Mine extends Array {})()],
  ["a lone surrogate", "\ud800"],
  ["a lone surrogate in a name", { "\udc00": 1 }],
  ["a cycle", cycle],
])("refuses %s", (_what, value) => {
  expect(codeOf(() => canonicalText(value))).toBe("envelope.not_canonical");
});

test("never sorts members that are far out of order when it only compares", () => {
  using sort = vi.spyOn(Array.prototype, "sort");
  const count = 20_000;
  const backwards = `{${Array.from({ length: count }, (_, i) => `"k${count - i}":0`).join(",")}}`;
  expect(isCanonicalText(JSON.parse(backwards), backwards)).toBe(false);
  expect(sort).not.toHaveBeenCalled();
});
