import { expect, test } from "vitest";
import { type CallNode, flameGraph } from "./flame-graph.ts";

function call(name: string, ownTime: number, calls: readonly CallNode[] = []): CallNode {
  return { name, ownTime, calls };
}

/** Name, share and height from the bottom of each box. */
function boxesOf(svg: string): string[] {
  const height = Number(/viewBox="0 0 \d+ (\d+)"/.exec(svg)?.[1]);
  return [...svg.matchAll(/<title>(.*?) %<\/title><rect x="(.*?)" y="(.*?)"/g)].map(
    ([, title, x, y]) => `${title} at ${x}, row ${(height - Number(y)) / 16 - 1}`,
  );
}

test("a box is as wide as the time of the function and of what it called, and calls of one name are one box", () => {
  const svg = flameGraph(
    call("(root)", 0, [
      call("read", 10, [call("parse", 30)]),
      call("write", 20, [call("sign", 25)]),
      call("read", 5, [call("parse", 10)]),
    ]),
  );
  expect(boxesOf(svg)).toEqual([
    "read 55.0 at 0.0, row 0",
    "parse 40.0 at 0.0, row 1",
    "write 45.0 at 660.0, row 0",
    "sign 25.0 at 660.0, row 1",
  ]);
});

test("what is too narrow to see is left out, and names are escaped", () => {
  const svg = flameGraph(call("(root)", 0, [call("<init> a&b", 10_000), call("rare", 1)]));
  expect(boxesOf(svg)).toEqual(["&lt;init&gt; a&amp;b 100.0 at 0.0, row 0"]);
  expect(svg).not.toContain("rare");
});
