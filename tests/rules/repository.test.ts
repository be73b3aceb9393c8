import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { daemonTreeFaults } from "./daemon-trees.ts";
import { forbiddenMarks } from "./marks.ts";
import { scratchRepository } from "./scratch.ts";

const ROOT = join(import.meta.dirname, "../..");

test("every daemon of this repository has the same tree", () => {
  expect(daemonTreeFaults(ROOT)).toEqual([]);
});

test("a daemon with a missing file or a long main.ts is found", () => {
  using scratch = scratchRepository();
  mkdirSync(join(scratch.root, "daemons/kit"), { recursive: true });
  scratch.write("daemons/fax/src/main.ts", "void 0;\n".repeat(41));
  const faults = daemonTreeFaults(scratch.root);
  expect(faults).toContain("daemons/fax/src/client.ts is missing");
  expect(faults).toContain("daemons/fax/src/main.ts has 41 lines, more than 40");
  expect(faults.join("\n")).not.toContain("kit");
});

test("a mapping of another name is found", () => {
  using scratch = scratchRepository();
  scratch.write("daemons/fax/src/inbound.ts", "export function toEvent() {}\n// toEvents\n");
  scratch.write("daemons/fax/src/outbound.ts", "export const toParts = () => [];\n");
  const faults = daemonTreeFaults(scratch.root);
  expect(faults).toContain("daemons/fax/src/inbound.ts exports no toEvents");
  expect(faults.join("\n")).not.toContain("toParts");
});

test("this repository has no forbidden marks", () => {
  expect(forbiddenMarks(ROOT)).toEqual([]);
});

test.each([
  ["a.ts", `const at = "/${"root"}/x";`, "a path of one machine"],
  ["a.md", `see /${"home"}/someone/x`, "a path of one machine"],
  ["package-lock.json", '{ "resolved": "https://example.test/a.tgz" }', "a download address"],
  [".npmrc", "registry=https://example.test/", "a registry"],
  ["a.test.ts", `test.${"only"}("x", f);`, "a test alone"],
  ["a.test.ts", `it.${"todo"}("x");`, "a test for later"],
  ["a.ts", `// @ts-${"ignore"}`, "a check switched off"],
  [".ci/run", `# ${"TO"}DO later`, "a promise"],
])("%s: %s", (file, line, what) => {
  using scratch = scratchRepository();
  scratch.write(file, `first line\n${line}\n`);
  expect(forbiddenMarks(scratch.root)).toEqual([`${file}:2 ${what}`]);
});
