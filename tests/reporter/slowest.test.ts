import { expect, test } from "vitest";
import { slowest, table } from "./slowest.ts";

const timed = (name: string, tookMs: number) => ({ name, tookMs });

test("the longest come first, and no more than asked for", () => {
  const all = [timed("a", 10), timed("b", 30), timed("c", 20)];
  expect(slowest(all, 2).map(({ name }) => name)).toEqual(["b", "c"]);
  expect(slowest(Array.from({ length: 11 }, (_, i) => timed(`${i}`, i)))).toHaveLength(10);
});

test("a line each, in seconds", () => {
  expect(table("slowest files", [timed("unit a.test.ts", 12_345)])).toBe(
    "slowest files\n    12.3 s  unit a.test.ts\n",
  );
});
