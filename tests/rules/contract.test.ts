/** The written contract: what the code cites is there, and its pages and samples name each other. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { sourceFiles } from "./sources.ts";

const ROOT = join(import.meta.dirname, "../..");
const read = (file: string) => readFileSync(join(ROOT, file), "utf8");
const CONTRACT = read("envelopes/CONTRACT.md");
const DAEMONS = read("envelopes/DAEMONS.md");

/** Also across the line break of a comment. */
const CITATION = /contract(?:'s order)?,?\s+(?:\*\s+)?\(?sections? (\d+)/gi;

test("every section of the contract that is cited exists, and all eleven are there", () => {
  const sections = Array.from(CONTRACT.matchAll(/^## (\d+)\. /gm), ([, number]) => Number(number));
  expect(sections).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  const cited = sourceFiles(ROOT)
    .filter((file) => /\.(ts|md|py|sql)$/.test(file))
    .flatMap((file) => Array.from(read(file).matchAll(CITATION), ([, number]) => ({ file, number })));
  expect(cited.length).toBeGreaterThan(26);
  expect(cited.filter(({ number }) => !sections.includes(Number(number)))).toEqual([]);
});

test("the page names every sample, and every sample that it names exists", () => {
  const named = new Set(Array.from(DAEMONS.matchAll(/`(\d\d-[a-z-]+)`/g), ([, name]) => name));
  const captured = readdirSync(join(ROOT, "envelopes/samples"))
    .filter((name) => /^\d\d-/.test(name))
    .map((name) => name.replace(/\.json$/, ""));
  expect(captured.filter((name) => !named.has(name))).toEqual([]);
  expect([...named].filter((name) => !captured.includes(name ?? ""))).toEqual([]);
});

test("the links between the pages lead to files and headings that exist", () => {
  const pages: Readonly<Record<string, string>> = { "CONTRACT.md": CONTRACT, "DAEMONS.md": DAEMONS };
  for (const [page, text] of Object.entries(pages)) {
    for (const [, path = "", anchor] of text.matchAll(/\]\(([^)#]*)(?:#([^)]*))?\)/g)) {
      const target = path === "" ? text : read(`envelopes/${path}`);
      if (anchor === undefined) continue;
      const headings = Array.from(target.matchAll(/^#+ (.*)$/gm), ([, heading = ""]) => slug(heading));
      expect(headings, `${page} links to ${path}#${anchor}`).toContain(anchor);
    }
  }
});

function slug(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\w\s-]/g, "")
    .replaceAll(" ", "-");
}
