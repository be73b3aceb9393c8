import type { Entity } from "@linkspan/envelopes";
import fc from "fast-check";
import { expect, test } from "vitest";
import { readFormatting, stylesOf } from "./formatting.ts";
import { splitText } from "./splitting.ts";

const TYPES = ["bold", "italic", "underline", "strike", "code", "spoiler"] as const;
const WIDE = 1_000_000;

/** One line of text without controls and blanks at its end, which not every server relays. */
const line = fc
  .string({
    unit: fc.oneof(
      fc.constantFrom("a", "1", ",", " ", "é", "👩‍👩‍👧", "ß"),
      fc.string({ unit: "binary", maxLength: 1 }),
    ),
  })
  .map((text) =>
    text
      .replace(/[\0-\x1F\x7F]/g, "")
      .toWellFormed()
      .trimEnd(),
  )
  .filter((text) => text !== "");

const styled = line.chain((text) =>
  fc
    .array(
      fc.record({
        type: fc.constantFrom(...TYPES),
        offset: fc.nat(text.length - 1),
        length: fc.integer({ min: 1, max: text.length }),
      }),
    )
    .map((entities) => ({ text, entities: entities as readonly Entity[] })),
);

test("text and styles survive the way out and in", () => {
  fc.assert(
    fc.property(styled, ({ text, entities }) => {
      const [raw = "", ...more] = splitText(text, entities, WIDE);
      expect(more).toEqual([]);
      const read = readFormatting(raw);
      expect(read.text).toBe(text);
      expect(stylesOf(read.text, read.entities)).toEqual(stylesOf(text, entities));
    }),
    { numRuns: 1_000 },
  );
});

test("entities come merged, in order, and inside of the text", () => {
  fc.assert(
    fc.property(styled, ({ text, entities }) => {
      const read = readFormatting(splitText(text, entities, WIDE)[0] ?? "");
      for (const { offset, length } of read.entities) {
        expect(length).toBeGreaterThan(0);
        expect(offset + length).toBeLessThanOrEqual(text.length);
      }
      const offsets = read.entities.map(({ offset }) => offset);
      expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
    }),
  );
});

test.each([
  ["\x02bold\x02 not", "bold not", [{ type: "bold", offset: 0, length: 4 }]],
  ["\x1Ditalic\x0F not", "italic not", [{ type: "italic", offset: 0, length: 6 }]],
  [
    "a \x02b\x1Dc\x02d\x1De",
    "a bcde",
    [
      { type: "bold", offset: 2, length: 2 },
      { type: "italic", offset: 3, length: 2 },
    ],
  ],
  ["\x0304red\x03 \x033,12green\x03, \x04FF0000hex\x04 \x16rev\x16", "red green, hex rev", []],
  ["\x035,5hid\x03den", "hidden", [{ type: "spoiler", offset: 0, length: 3 }]],
  ["\x0301,1hid\x0304den", "hidden", [{ type: "spoiler", offset: 0, length: 3 }]],
  ["\x0399,99plain\x03", "plain", []],
  ["\x0399,1plain \x031,99too", "plain too", []],
  ["\x0304,4hid\x0399shown", "hidshown", [{ type: "spoiler", offset: 0, length: 3 }]],
  ["\x0304,01red \x0301hid", "red hid", [{ type: "spoiler", offset: 4, length: 3 }]],
  ["\x031,1hid\x0fshown \x031shown", "hidshown shown", [{ type: "spoiler", offset: 0, length: 3 }]],
  ["\x04FF0000,ff0000hid\x04 shown", "hid shown", [{ type: "spoiler", offset: 0, length: 3 }]],
  ["\x04FF0000,00FF00shown", "shown", []],
  ["\x031,1\x16hid\x16", "hid", [{ type: "spoiler", offset: 0, length: 3 }]],
  [
    "\x1Estrike\x1E \x1Funder\x1F",
    "strike under",
    [
      { type: "strike", offset: 0, length: 6 },
      { type: "underline", offset: 7, length: 5 },
    ],
  ],
  [
    "\x02\x11\x1Eall\x0Fnone",
    "allnone",
    [
      { type: "bold", offset: 0, length: 3 },
      { type: "strike", offset: 0, length: 3 },
      { type: "code", offset: 0, length: 3 },
    ],
  ],
  ["\x11code\x11", "code", [{ type: "code", offset: 0, length: 4 }]],
  ["👍 \x02x", "👍 x", [{ type: "bold", offset: 3, length: 1 }]],
  ["\x02\x02\x0312", "", []],
  ["tab\tand\x07bell", "tab\tandbell", []],
] as const)("%j reads as %j", (raw, text, entities) => {
  expect(readFormatting(raw)).toEqual({ text, entities });
});

test("a digit behind a spoiler is not read as a colour", () => {
  const [raw = ""] = splitText("no1", [{ type: "spoiler", offset: 0, length: 2 }], WIDE);
  expect(readFormatting(raw)).toEqual({ text: "no1", entities: [{ type: "spoiler", offset: 0, length: 2 }] });
});

test("reading takes whatever comes", () => {
  fc.assert(
    fc.property(
      fc.string({
        unit: fc.constantFrom("\x02", "\x03", "\x04", "\x0F", "\x16", "\x1D", "0", "9", ",", "a", "F"),
      }),
      (raw) => {
        const { text } = readFormatting(raw);
        expect(text).toMatch(/^[09,aF]*$/);
      },
    ),
  );
});
