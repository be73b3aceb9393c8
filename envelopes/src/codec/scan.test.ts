import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalText } from "./canonical.ts";
import { checkLimits } from "./envelope-limits.ts";
import { codeOf } from "../sample.ts";
import { scan } from "./scan.ts";

const scanText = (text: string, maxDepth = 32) => scan(Buffer.from(text), maxDepth);

test.each([
  ['{"a":1,"b":[true,false,null,-7],"c":{"d":"x\\n\\u001f\\"\\\\"}}', true, true],
  ['{"a":9007199254740991}', true, true],
  ['{"a":9007199254740992}', false, false],
  ['{"a":-9007199254740991,"é":0}', true, true],
  ['{"a":"\\u0000"}', true, false],
  ['{"a": 1}', false, true],
  ['{"b":1,"a":1}', false, true],
  ['{"a":1,"a":1}', false, true],
  ['{"ab":1,"a":1}', false, true],
  ['{"a":{"z":1},"b":{"a":1}}', true, true],
  ['[{"b":1},{"a":1}]', true, true],
  ['{"a":1.0}', false, false],
  ['{"a":-0}', false, false],
  ['{"a":1e0}', false, false],
  ['{"a":"\\u0061"}', false, true],
  ['{"a":"\\u001F"}', false, true],
  ['{"a":"\\u0008"}', false, true],
  ['{"a":"\\/"}', false, true],
  ['{"a":"\\ud800"}', false, true],
  ['{"\\n":1}', false, true],
  ['{"\ufb33":1}', false, true],
])("%s: canonical %s, plain %s", (text, canonical, plain) => {
  expect(scanText(text)).toEqual({ tooDeep: false, canonical, plain });
});

test.each([
  [`${"[".repeat(32)}${"]".repeat(32)}`, false],
  [`${"[".repeat(33)}${"]".repeat(33)}`, true],
  [`{"a":"${"[".repeat(99)}"}`, false],
  [`["\\"${"[".repeat(99)}"]`, false],
  ["[".repeat(100_000), true],
  [`${"[]".repeat(1_000)}`, false],
])("depth of %s", (text, tooDeep) => {
  expect(scanText(text).tooDeep).toBe(tooDeep);
});

/** Canonical texts, and texts that one edit made into something else. */
const texts = fc
  .record({
    value: fc.jsonValue({ maxDepth: 4, stringUnit: "binary" }),
    at: fc.nat(),
    put: fc.constantFrom(
      "",
      " ",
      "0",
      "-",
      ".",
      "e1",
      "\\",
      "\\u0041",
      '"',
      ",",
      ":",
      "{",
      "}",
      "[",
      "]",
      "é",
      "\ufb33",
    ),
    cut: fc.nat(3),
  })
  .map(({ value, at, put, cut }) => {
    const text = canonicalText(JSON.parse(JSON.stringify(value)));
    const from = at % (text.length + 1);
    return [text, text.slice(0, from) + put + text.slice(from + cut)];
  });

test("what it calls canonical or plain is so", () => {
  fc.assert(
    fc.property(texts, (pair) => {
      for (const text of pair.filter((candidate) => candidate.isWellFormed())) {
        const value = parsed(text);
        if (value === undefined) continue;
        const seen = scanText(text);
        if (seen.canonical) expect(canonicalText(value)).toBe(text);
        if (seen.plain) expect(codeOf(() => checkLimits({ value, text, plain: false }))).toBe("none");
      }
    }),
    { numRuns: 2_000 },
  );
});

test("the envelopes that daemons write need no second look", () => {
  const members = fc.dictionary(
    fc.stringMatching(/^[a-z_]{1,12}$/),
    fc.oneof(fc.string(), fc.maxSafeInteger(), fc.boolean()),
  );
  fc.assert(
    fc.property(members, (value) => scanText(canonicalText(value)).canonical || Object.is(value, -0)),
  );
});

/** Counts how often a byte is looked at. */
function looksAt(text: string): number {
  let looks = 0;
  const bytes = new Proxy(Buffer.from(text), {
    get(target, name) {
      if (name !== "length") looks++;
      return Reflect.get(target, name) as unknown;
    },
  });
  scan(bytes, 32);
  return looks;
}

const name = "n".repeat(200);
test.each<[string, (size: number) => string]>([
  ["quotes", (size) => '"'.repeat(size)],
  ["backslashes in one string", (size) => `"${"\\".repeat(size)}`],
  ["unicode escapes", (size) => `"${"\\u0041".repeat(size / 6)}"`],
  [
    "names that differ at their ends",
    (size) => `{${Array.from({ length: size / 210 }, (_, i) => `"${name}${i}":0`).join(",")}}`,
  ],
  ["numbers", (size) => "1".repeat(size)],
  ["signs", (size) => "-".repeat(size)],
  ["brackets", (size) => "[]".repeat(size / 2)],
  ["closing brackets", (size) => "]".repeat(size)],
  ["an object in an object", (size) => '{"a":{"a":'.repeat(16) + " ".repeat(size)],
])("looks at each byte a bounded number of times: %s", (_what, make) => {
  for (const size of [1_000, 4_000, 16_000]) {
    const text = make(size);
    expect(looksAt(text) / Math.max(text.length, 100)).toBeLessThan(8);
  }
});

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
