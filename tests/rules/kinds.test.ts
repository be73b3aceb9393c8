/** The table of kinds of fault names tests that exist. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const NAMED = /`([^`]+\.ts)`((?: "[^"]+")*)/g;

/** What the last cell of each row names and is not there. */
function missingIn(table: string, read: (path: string) => string | undefined): string[] {
  const faults: string[] = [];
  for (const row of table.split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| **"))) {
    const [kind = "", , tests = ""] = row
      .split("|")
      .slice(1)
      .map((cell) => cell.trim());
    if (kind === "kind" || kind.startsWith("---")) continue;
    const named = [...tests.matchAll(NAMED)];
    if (named.length === 0) faults.push(`${kind}: no test`);
    for (const [, path = "", names = ""] of named) {
      const source = read(path);
      if (source === undefined) faults.push(`${kind}: ${path} is not there`);
      for (const [, name = ""] of names.matchAll(/"([^"]+)"/g)) {
        if (source !== undefined && !source.includes(name)) faults.push(`${kind}: ${path} has no "${name}"`);
      }
    }
  }
  return faults;
}

test("every kind of fault names tests that exist", () => {
  const readme = readFileSync(join(ROOT, "tests/README.md"), "utf8");
  const table = readme.slice(readme.indexOf("## Kinds of fault"));
  expect(table.split("\n").filter((line) => line.startsWith("| ")).length).toBeGreaterThan(50);
  const read = (path: string) =>
    existsSync(join(ROOT, path)) ? readFileSync(join(ROOT, path), "utf8") : undefined;
  expect(missingIn(table, read)).toEqual([]);
});

test("a kind without a test, a file and a name that are not there are found", () => {
  const table = ["| a | x | – |", '| b | x | `here.ts` "one" "two" |', "| c | x | `gone.ts` |"].join("\n");
  expect(missingIn(table, (path) => (path === "here.ts" ? 'test("one")' : undefined))).toEqual([
    "a: no test",
    'b: here.ts has no "two"',
    "c: gone.ts is not there",
  ]);
});
