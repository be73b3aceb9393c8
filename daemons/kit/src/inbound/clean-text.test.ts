import fc from "fast-check";
import { expect, test } from "vitest";
import { cleanText } from "./clean-text.ts";

test("what fits is returned as it is, not copied", () => {
  const event = { text: "grüße 🌉", native: { list: [1, "two", { three: null }] } };
  expect(cleanText(event)).toBe(event);
});

test("NUL and lone surrogates are replaced, one code unit for one, wherever they stand", () => {
  expect(cleanText({ text: "a\0b\uD800c", list: [{ name: "\0" }], at: 1 })).toEqual({
    text: "a\uFFFDb\uFFFDc",
    list: [{ name: "\uFFFD" }],
    at: 1,
  });
});

test("any string comes out well formed, without NUL and as long as before", () => {
  const units = fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 20 });
  fc.assert(
    fc.property(units, (codes) => {
      const text = String.fromCharCode(...codes);
      const clean = cleanText(text);
      expect(clean.isWellFormed() && !clean.includes("\0")).toBe(true);
      expect(clean).toHaveLength(text.length);
    }),
  );
});
