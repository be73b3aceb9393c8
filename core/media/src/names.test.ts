import fc from "fast-check";
import { expect, test } from "vitest";
import { cleanName } from "./names.ts";

test.each([
  [undefined, "file"],
  ["", "file"],
  ["..", "file"],
  [". .", "file"],
  ["photo.png", "photo.png"],
  ["../../etc/passwd", "passwd"],
  ["..\\..\\boot.ini", "boot.ini"],
  ["a/../", "file"],
  ["/absolute", "absolute"],
  ["fullwidth\uff0fslash", "slash"],
  ["invoice\u202egnp.exe", "invoicegnp.exe"],
  ["line\r\nset-cookie: a", "lineset-cookie_ a"],
  ["nul\0.txt", "_nul.txt"],
  ["CON", "_CON"],
  ["com1.tar.gz", "_com1.tar.gz"],
  ["lpt¹", "_lpt¹"],
  ["console.log", "console.log"],
  [".htaccess", "htaccess"],
  ["ends with a dot. ", "ends with a dot"],
  ["what?.txt", "what_.txt"],
  ["lone \ud800 surrogate", "lone � surrogate"],
  ["Grüße 🎉.txt", "Grüße 🎉.txt"],
])("%j becomes %j", (given, expected) => {
  expect(cleanName(given)).toBe(expected);
});

test("a long name keeps its ending and whole characters", () => {
  const name = cleanName(`${"ü".repeat(300)}.jpeg`);
  expect(name.endsWith("ü.jpeg")).toBe(true);
  expect(Buffer.byteLength(name)).toBeLessThanOrEqual(200);
});

test("any name becomes one that is short, visible, and cleaned already", () => {
  const text = fc.oneof(fc.string({ unit: "binary", maxLength: 400 }), fc.string({ unit: "grapheme" }));
  fc.assert(
    fc.property(text, (given) => {
      const name = cleanName(given);
      expect(Buffer.byteLength(name)).toBeGreaterThan(0);
      expect(Buffer.byteLength(name)).toBeLessThanOrEqual(200);
      expect(name).not.toMatch(/[\p{Cc}\p{Cf}/\\]|^\.|\.$/u);
      expect(cleanName(name)).toBe(name);
    }),
  );
});
