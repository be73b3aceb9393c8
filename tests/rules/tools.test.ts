/** The formatter, the linter and the compiler, with this repository's configuration, each given what it must refuse. */
import { spawnSync } from "node:child_process";
import { copyFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Scratch, scratchRepository } from "./scratch.ts";

const ROOT = join(import.meta.dirname, "../..");

/** The tools, from package.json's scripts. */
const TOOLS = {
  format: ["biome", "format", "."],
  lint: ["oxlint", "--type-aware", "--deny-warnings"],
  types: ["tsc", "--noEmit"],
} as const;

const CLEAN = `export async function wait(turn: Promise<number>): Promise<number> {
  return (await turn) + 1;
}
`;

const RIGHT = "core/worker/src/right.ts";

/** Reported by the tool under this word. */
const VIOLATIONS: readonly (readonly [tool: keyof typeof TOOLS, word: string, content: string])[] = [
  ["format", "Formatter would have printed", "export const  a = 'x'\n"],
  ["lint", "no-floating-promises", `${CLEAN}wait(Promise.resolve(1));\n`],
  ["lint", "no-misused-promises", `${CLEAN}if (wait(Promise.resolve(1))) throw new Error("never");\n`],
  ["lint", "await-thenable", "export const a = await 1;\n"],
  ["lint", "no-explicit-any", "export const a = (b: any): string => String(b);\n"],
  ["lint", "no-unsafe-assignment", 'export const a: { b: number } = JSON.parse("{}");\n'],
  ["lint", "no-unused-vars", "const a = 1;\nexport {};\n"],
  ["lint", "no-console", 'console.log("x");\n'],
  ["lint", "no-empty", 'try {\n  JSON.parse("");\n} catch {}\n'],
  ["lint", "only-throw-error", 'throw "text";\n'],
  ["lint", "no-default-export", "export default 1;\n"],
  [
    "lint",
    "no-import-type-side-effects",
    'import { type Socket } from "node:net";\nexport type A = Socket;\n',
  ],
  ["lint", "consistent-type-imports", 'export type A = import("node:net").Socket;\n'],
  [
    "lint",
    "switch-exhaustiveness-check",
    'export function f(a: "x" | "y"): void {\n  switch (a) {\n    case "x":\n      throw new Error(a);\n  }\n}\n',
  ],
  ["types", "TS2322", 'export const a: number = "x";\n'],
  ["types", "TS2532", "export const a = (b: number[]): string => b[0].toFixed();\n"],
  ["types", "TS1294", "export enum A {\n  B,\n}\n"],
  ["types", "TS1484", 'import { AddressInfo } from "node:net";\nexport type A = AddressInfo;\n'],
  ["types", "TS2375", "interface A {\n  b?: string;\n}\nexport const a: A = { b: undefined };\n"],
  ["types", "TS4114", "class A {\n  b(): void {}\n}\nexport class C extends A {\n  b(): void {}\n}\n"],
];

type Tool = keyof typeof TOOLS;

/** How a tool is told to say one finding a line, behind the file's name. */
const BY_LINE: Readonly<Record<Tool, readonly string[]>> = {
  format: [],
  lint: ["--format=unix"],
  types: ["--pretty", "false"],
};

const fileOf = (index: number): string => `core/worker/src/case-${index}.ts`;

function scratchWith(files: Readonly<Record<string, string>>): Scratch {
  const scratch = scratchRepository();
  for (const file of ["biome.json", ".oxlintrc.json", "tsconfig.json"]) {
    copyFileSync(join(ROOT, file), join(scratch.root, file));
  }
  symlinkSync(join(ROOT, "node_modules"), join(scratch.root, "node_modules"));
  scratch.write("package.json", `${JSON.stringify({ name: "scratch", type: "module" }, null, 2)}\n`);
  for (const [path, content] of Object.entries(files)) scratch.write(path, content);
  return scratch;
}

interface Outcome {
  readonly status: number | null;
  readonly output: string;
}

function run(tool: Tool, files: Readonly<Record<string, string>>): Outcome {
  using scratch = scratchWith(files);
  const [command, ...args] = TOOLS[tool];
  const { status, stdout, stderr } = spawnSync(
    join(ROOT, "node_modules/.bin", command),
    [...args, ...BY_LINE[tool]],
    { cwd: scratch.root, encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } },
  );
  return { status, output: stdout + stderr };
}

/** One run of each tool over all that it must refuse, a file each, beside one that is right. */
const runs = new Map<Tool, Outcome>();
function refusals(tool: Tool): Outcome {
  const files: Record<string, string> = { [RIGHT]: CLEAN };
  for (const [index, [by, , content]] of VIOLATIONS.entries())
    if (by === tool) files[fileOf(index)] = content;
  const known = runs.get(tool) ?? run(tool, files);
  runs.set(tool, known);
  return known;
}

test.each(Object.keys(TOOLS) as Tool[])("%s accepts what is right", (tool) => {
  expect(run(tool, { [RIGHT]: CLEAN })).toMatchObject({ status: 0 });
  expect(refusals(tool).output).not.toContain(RIGHT);
});

test.each(VIOLATIONS.map((violation, index) => [...violation, index] as const))(
  "%s finds %s",
  (tool, word, _content, index) => {
    const { status, output } = refusals(tool);
    const found = output.split("\n").filter((line) => line.includes(fileOf(index)));
    // The formatter names the file in one line and says what it found in the next; it has one case.
    expect(tool === "format" ? output : found.join("\n")).toContain(word);
    expect(found).not.toEqual([]);
    expect(status).not.toBe(0);
  },
);

test("compose may print", () => {
  expect(run("lint", { [RIGHT]: CLEAN, "compose/src/a.ts": 'console.log("x");\n' })).toMatchObject({
    status: 0,
  });
});
