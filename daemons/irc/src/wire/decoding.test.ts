import { Buffer } from "node:buffer";
import fc from "fast-check";
import { expect, test } from "vitest";
import { isEncoding, lineDecoder } from "./decoding.ts";

const decode = lineDecoder();
const line = (text: string, ...more: readonly number[]) =>
  Buffer.concat([Buffer.from(text), Buffer.from(more)]);

test.each([
  ["a last byte that is cut", line(":b PRIVMSG #c :привет \u043c", 0xd1), ":b PRIVMSG #c :привет м\uFFFD"],
  ["three bytes of four at the end", line("größe 🌉", 0xf0, 0x9f, 0x8c), "größe 🌉\uFFFD"],
  ["a broken byte in the middle", Buffer.concat([line("привет ", 0xff), line(" мир")]), "привет \uFFFD мир"],
  ["a stray continuation", Buffer.concat([line("привет", 0x80), line("!")]), "привет\uFFFD!"],
  ["an overlong form", Buffer.concat([line("привет ", 0xc0, 0xaf), line("x")]), "привет \uFFFDx"],
  ["a surrogate", Buffer.concat([line("привет ", 0xed, 0xa0, 0x80), line("x")]), "привет \uFFFDx"],
  ["a carriage return behind a cut", line("привет", 0xd1, 0x0d), "привет\uFFFD"],
  ["ASCII up to a cut at the limit of a line", line("x".repeat(480), 0xc3), `${"x".repeat(480)}\uFFFD`],
])("UTF-8 stays UTF-8, only the broken bytes are replaced: %s", (_, bytes, text) => {
  expect(decode(bytes)).toBe(text);
});

test.each([
  ["windows-1252", Buffer.from("gr\xfc\xdfe", "latin1"), "grüße"],
  ["windows-1252", Buffer.from("ma\xf1ana \xa1", "latin1"), "mañana ¡"],
  ["windows-1251", Buffer.from([0xcf, 0xf0, 0xe8, 0xe2, 0xe5, 0xf2]), "Привет"],
  ["koi8-r", Buffer.from([0xf0, 0xd2, 0xc9, 0xd7, 0xc5, 0xd4]), "Привет"],
  ["shift_jis", Buffer.from([0x82, 0xb1, 0x82, 0xf1]), "こん"],
  ["utf-8", Buffer.from("gr\xfc\xdfe", "latin1"), "gr\uFFFDe"],
])("what is not UTF-8 is read in the encoding of the connection: %s", (encoding, bytes, text) => {
  expect(lineDecoder(encoding)(bytes)).toBe(text);
});

test.each([
  ["windows-1251", true],
  ["latin1", true],
  ["utf-8", true],
  ["utf-16le", false],
  ["klingon", false],
  ["", false],
])("%j is an encoding of lines: %s", (label, is) => {
  expect(isEncoding(label)).toBe(is);
});

test("text cut at any byte keeps every whole character before the cut", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom("п", "ш", "世", "🌉", "a", " "), minLength: 8 }),
      fc.nat(),
      (text, at) => {
        fc.pre([..."пш世🌉"].filter((one) => text.includes(one)).length > 0);
        const bytes = Buffer.from(`пш${text}`);
        const cut = bytes.subarray(0, 4 + (at % (bytes.length - 3)));
        const read = decode(cut).replace(/\uFFFD$/, "");
        expect(`пш${text}`.startsWith(read)).toBe(true);
        expect(Buffer.byteLength(read)).toBeGreaterThan(cut.length - 4);
      },
    ),
  );
});

test("any bytes are read, without NUL and carriage return", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      const text = decode(Buffer.from(bytes));
      expect(text).not.toMatch(/[\r\0]/);
      expect(text.isWellFormed()).toBe(true);
    }),
  );
});
