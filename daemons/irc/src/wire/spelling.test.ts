import type { Entity } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { spelledOut } from "./spelling.ts";

const bold = (offset: number, length: number): Entity => ({ type: "bold", offset, length });

test("a link says where it leads, unless it says so already", () => {
  const url = "https://example.test/";
  expect(spelledOut("see here now", [{ type: "link", offset: 4, length: 4, url }, bold(9, 3)])).toEqual({
    text: `see here <${url}> now`,
    entities: [bold(9 + url.length + 3, 3)],
  });
  expect(spelledOut(url, [{ type: "link", offset: 0, length: url.length, url }]).text).toBe(url);
});

test("each line of a quotation is marked, styles stay on their words", () => {
  const quote: Entity = { type: "quote", offset: 0, length: 7 };
  const { text, entities } = spelledOut("one\ntwo\nthree", [quote, bold(4, 3), bold(0, 3)]);
  expect(text).toBe("> one\n> two\nthree");
  expect(entities.map(({ offset, length }) => text.slice(offset, offset + length))).toEqual(["two", "one"]);
});

test("entities beyond the text do no harm", () => {
  const url = "https://example.test/";
  expect(spelledOut("ab", [{ type: "link", offset: 1, length: 50, url }]).text).toBe(`ab <${url}>`);
});
