import type { Entity } from "@linkspan/envelopes";
import fc from "fast-check";
import { expect, test } from "vitest";
import { readFormatting, stylesOf } from "./formatting.ts";
import { splitText } from "./splitting.ts";

const unit = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom("a", "b", "1", "ö", "🌉", "👩‍👩‍👧‍👦", "é") },
  { weight: 1, arbitrary: fc.constantFrom(" ", "\t") },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 2 }) },
);
const text = fc.string({ unit, maxLength: 400 }).map((raw) => raw.toWellFormed());
const entities = fc.array(
  fc.record({
    type: fc.constantFrom("bold", "italic", "spoiler", "pre", "mention"),
    offset: fc.nat(300),
    length: fc.integer({ min: 1, max: 300 }),
  }),
  { maxLength: 5 },
) as fc.Arbitrary<readonly Entity[]>;
const limit = fc.integer({ min: 32, max: 500 });

/** The lines of a text on IRC: without controls, without blanks at their end, none of them empty. */
function spoken(raw: string): string {
  return raw
    .split(/\r\n|[\r\n]/)
    .map((line) => line.replace(/[\0-\x08\x0A-\x1F\x7F]/g, "").replace(/[ \t]+$/, ""))
    .join("");
}

const graphemes = new Intl.Segmenter("und", { granularity: "grapheme" });
const longest = (texts: readonly string[]): number =>
  Math.max(0, ...texts.map((one) => Buffer.byteLength(one)));

/** Whether any run of blanks fits a line together with what comes behind it: else the blanks cannot be said. */
function holdsBlanks(raw: string, styles: readonly Entity[], maxBytes: number): boolean {
  const said = raw.replace(/[\0-\x08\x0B-\x1F\x7F]/g, "");
  const run = longest(said.match(/[ \t]+/g) ?? []);
  const grapheme = longest([...graphemes.segment(said)].map(({ segment }) => segment));
  const perPiece = styles.length === 0 ? 1 : 32;
  return maxBytes >= perPiece * run + perPiece - 1 + grapheme;
}

test("every part fits, and together they say the text", () => {
  const withoutBlanks = (said: string) => said.replace(/[ \t]/g, "");
  fc.assert(
    fc.property(text, entities, limit, (raw, styles, maxBytes) => {
      const parts = splitText(raw, styles, maxBytes);
      for (const part of parts) expect(Buffer.byteLength(part)).toBeLessThanOrEqual(maxBytes);
      const said = parts.map((part) => readFormatting(part).text).join("");
      expect(withoutBlanks(said)).toBe(withoutBlanks(spoken(raw)));
      if (holdsBlanks(raw, styles, maxBytes)) expect(said).toBe(spoken(raw));
    }),
    { numRuns: 2_000 },
  );
});

test("blanks at the beginning of a line are said, however long the rest is", () => {
  const indented = `${" ".repeat(60)}${"x".repeat(100)}`;
  expect(splitText(indented, [], 100).join("")).toBe(indented);
  expect(splitText("\t\t\t👩‍👩‍👧‍👦👩‍👩‍👧‍👦", [], 40)).toEqual(["\t\t\t👩‍👩‍👧‍👦", "👩‍👩‍👧‍👦"]);
});

test("no part holds a control but formatting and tab, is blank, or ends in half a character", () => {
  fc.assert(
    fc.property(text, entities, limit, (raw, styles, maxBytes) => {
      for (const part of splitText(raw, styles, maxBytes)) {
        expect(part).not.toMatch(/[\r\n\0\x01]/);
        expect(part.trim()).not.toBe("");
        expect(part.isWellFormed()).toBe(true);
      }
    }),
    { numRuns: 1_000 },
  );
});

test("styles go on in the next part", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom("a", "ö", "🌉"), minLength: 50 }),
      limit,
      (raw, maxBytes) => {
        const bold: Entity = { type: "bold", offset: 10, length: 30 };
        const styles = splitText(raw, [bold], maxBytes)
          .map(readFormatting)
          .flatMap((part) => [...stylesOf(part.text, part.entities)]);
        expect(styles).toEqual([...stylesOf(raw, [bold])]);
      },
    ),
  );
});

test("it is cut before a blank where there is one, else between graphemes", () => {
  expect(splitText("one two three four five six seven eight nine", [], 32)).toEqual([
    "one two three four five six",
    " seven eight nine",
  ]);
  const family = "👩‍👩‍👧‍👦";
  expect(splitText(family.repeat(3), [], 60)).toEqual([family + family, family]);
});

test("a grapheme longer than a line is cut between its code points", () => {
  const zalgo = `a${"\u0301".repeat(100)}`;
  const parts = splitText(zalgo, [], 32);
  expect(parts.length).toBeGreaterThan(5);
  expect(parts.join("")).toBe(zalgo);
});

test("lines are parts, blank ones are none", () => {
  expect(splitText("one\n\n \r\ntwo\rthree\n", [], 100)).toEqual(["one", "two", "three"]);
});

test("a text of blanks alone takes no quadratic time", () => {
  expect(splitText(`${" ".repeat(200_000)}x`, [], 400)).toEqual([expect.stringMatching(/^ +x$/)]);
});
