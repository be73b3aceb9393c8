import fc from "fast-check";
import { expect, test } from "vitest";
import { linesOf } from "./lines.ts";

async function lines(chunks: Uint8Array[], maxBytes?: number): Promise<(string | undefined)[]> {
  const input = (async function* () {
    yield* chunks;
  })();
  const found: (string | undefined)[] = [];
  for await (const line of linesOf(input, maxBytes)) {
    found.push(line && Buffer.from(line).toString("latin1"));
  }
  return found;
}

test("however the bytes are cut, the lines are those between line feeds", async () => {
  const text = fc.string({ unit: fc.constantFrom("a", "\n", "\r", "\u0085"), maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(fc.array(text, { maxLength: 8 }), async (parts) => {
      const expected = parts.join("").split("\n");
      if (expected.at(-1) === "") expected.pop();
      expect(await lines(parts.map((part) => Buffer.from(part, "latin1")))).toEqual(expected);
    }),
  );
});

test("a line that is too long takes no memory and leaves the next alone", async () => {
  const chunks = ["aaa", "aaa", "\nbb\n", "cccccc"].map((text) => Buffer.from(text));
  expect(await lines(chunks, 5)).toEqual([undefined, "bb", undefined]);
  expect(await lines(chunks, 6)).toEqual(["aaaaaa", "bb", "cccccc"]);
});
