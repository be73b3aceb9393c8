import fc from "fast-check";
import { expect, test } from "vitest";
import { joinLines } from "./joins.ts";

test("a server that takes few channels in one line gets no more of them", () => {
  const wishes = ["#a", "#b", "#c"].map((name) => ({ name, key: undefined }));
  expect(joinLines(wishes, 1)).toEqual(["JOIN #a", "JOIN #b", "JOIN #c"]);
  expect(joinLines(wishes, 2)).toEqual(["JOIN #a,#b", "JOIN #c"]);
});

test("channels are joined in few lines, every key with its channel, none longer than a server takes", () => {
  const name = fc
    .string({ unit: fc.constantFrom("a", "b", "ö"), minLength: 1, maxLength: 80 })
    .map((text) => `#${text}`);
  const key = fc.option(fc.string({ unit: fc.constantFrom("x", "y"), minLength: 1, maxLength: 20 }), {
    nil: undefined,
  });
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.record({ name, key }), { selector: (wish) => wish.name, maxLength: 60 }),
      (wishes) => {
        const joined = joinLines(wishes).flatMap((line) => {
          expect(Buffer.byteLength(line)).toBeLessThanOrEqual(500);
          const [command, names = "", keys] = line.split(" ");
          expect(command).toBe("JOIN");
          const each = keys?.split(",") ?? [];
          return names.split(",").map((channel, index) => ({ name: channel, key: each[index] }));
        });
        const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
        expect(joined.toSorted(byName)).toEqual(wishes.toSorted(byName));
      },
    ),
  );
});
