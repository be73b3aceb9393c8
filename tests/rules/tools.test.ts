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

function scratchWith(content: string): Scratch {
  const scratch = scratchRepository();
  for (const file of ["biome.json", ".oxlintrc.json", "tsconfig.json"]) {
    copyFileSync(join(ROOT, file), join(scratch.root, file));
  }
  symlinkSync(join(ROOT, "node_modules"), join(scratch.root, "node_modules"));
  scratch.write("package.json", `${JSON.stringify({ name: "scratch", type: "module" }, null, 2)}\n`);
  scratch.write("core/worker/src/a.ts", content);
  return scratch;
}

function run(tool: keyof typeof TOOLS, { root }: Scratch): { status: number | null; output: string } {
  const [command, ...args] = TOOLS[tool];
  const { status, stdout, stderr } = spawnSync(join(ROOT, "node_modules/.bin", command), args, {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1" },
  });
  return { status, output: stdout + stderr };
}

test.each(Object.keys(TOOLS) as (keyof typeof TOOLS)[])("%s accepts what is right", (tool) => {
  using scratch = scratchWith(CLEAN);
  expect(run(tool, scratch)).toMatchObject({ status: 0 });
});

test.each(VIOLATIONS)("%s finds %s", (tool, word, content) => {
  using scratch = scratchWith(content);
  const { status, output } = run(tool, scratch);
  expect(output).toContain(word);
  expect(status).not.toBe(0);
});

test("compose may print", () => {
  using scratch = scratchWith(CLEAN);
  scratch.write("compose/src/a.ts", 'console.log("x");\n');
  expect(run("lint", scratch)).toMatchObject({ status: 0 });
});
