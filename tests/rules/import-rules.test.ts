/** Each import rule, broken on purpose in a scratch workspace. */
import { expect, test } from "vitest";
import { assertAllRead, readGraph } from "./graph.ts";
import { checkImports, RULES } from "./import-rules.ts";
import { LAYERS, matches } from "./layers.ts";
import { type Scratch, scratchWorkspace } from "./scratch.ts";

const LEGITIMATE: Readonly<Record<string, string>> = {
  "core/worker/src/a.ts": 'import { value } from "@linkspan/store";\nexport const a = value;\n',
  "vault/src/a.ts": 'import type { Port } from "@linkspan/fabric";\nexport type A = Port;\n',
  "vault/src/b.ts": 'import { type Port } from "@linkspan/fabric";\nexport type B = Port;\n',
  "daemons/irc/src/client.ts": 'import { value } from "irc-framework";\nexport const client = value;\n',
  "daemons/irc/src/config.ts": 'import { value } from "zod";\nexport const config = value;\n',
  "core/store/src/a.test.ts":
    'import { value } from "../../../tests/servers/postgres.ts";\nimport "vitest";\nvoid value;\n',
  "core/fabric/src/t.ts": "export const t = 1;\n",
  "core/fabric/src/u.ts": 'import { t } from "./t.ts";\nexport type U = typeof t;\n',
  "compose/src/a.ts": 'import { AmqpBus } from "@linkspan/fabric";\nnew AmqpBus();\n',
  "core/worker/src/b.ts": 'import type { AmqpBus } from "@linkspan/fabric";\nexport type B = AmqpBus;\n',
};

test("the rows are in the order of the layers: each names only rows above it", () => {
  const directories = Object.keys(LAYERS);
  const wrong = Object.values(LAYERS).flatMap(({ may, types = [] }, at) =>
    [...may, ...types].flatMap((pattern) => {
      const named = directories.filter((directory) => matches(directory, [pattern]));
      const isAbove = named.length > 0 && named.every((directory) => directories.indexOf(directory) < at);
      return isAbove ? [] : [`${directories[at]} names ${pattern}`];
    }),
  );
  expect(wrong).toEqual([]);
});

/** The rule, the file that breaks it, and how. */
const VIOLATIONS: readonly (readonly [rule: string, file: string, content: string])[] = [
  ["resolvable", "core/store/src/x.ts", 'import "./nowhere.ts";\n'],
  [
    "resolvable",
    "core/worker/src/x.ts",
    'import { inner } from "@linkspan/fabric/src/inner.ts";\nvoid inner;\n',
  ],
  ["layers", "envelopes/src/x.ts", 'import { value } from "@linkspan/fabric";\nvoid value;\n'],
  ["layers", "core/store/src/x.ts", 'import type { Port } from "@linkspan/fabric";\nexport type X = Port;\n'],
  ["layers", "core/store/src/x.ts", 'export * from "@linkspan/worker";\n'],
  ["layers", "core/store/src/x.ts", 'export const x = () => import("@linkspan/worker");\n'],
  ["layers", "core/store/src/x.ts", 'using x = await import("@linkspan/worker");\nvoid x;\n'],
  ["layers", "daemons/kit/src/x.ts", 'import { value } from "@linkspan/store";\nvoid value;\n'],
  ["layers", "daemons/irc/src/x.ts", 'import { value } from "@linkspan/echo";\nvoid value;\n'],
  ["layers", "daemons/irc/src/x.ts", 'import { value } from "@linkspan/worker";\nvoid value;\n'],
  ["layers", "core/worker/src/x.ts", 'import { value } from "@linkspan/compose";\nvoid value;\n'],
  ["types-only", "vault/src/x.ts", 'import { value } from "@linkspan/fabric";\nvoid value;\n'],
  ["by-name", "core/worker/src/x.ts", 'import { inner } from "../../fabric/src/inner.ts";\nvoid inner;\n'],
  ["no-tests", "compose/src/x.ts", 'import { value } from "@linkspan/tests";\nvoid value;\n'],
  [
    "no-tests",
    "core/store/src/x.ts",
    'import { value } from "../../../tests/servers/postgres.ts";\nvoid value;\n',
  ],
  ["no-tests", "core/store/src/x.ts", 'import "./a.test.ts";\n'],
  ["declared", "core/fabric/src/x.ts", 'import { value } from "pg";\nvoid value;\n'],
  ["declared", "core/fabric/src/x.ts", 'import { value } from "vitest";\nvoid value;\n'],
  [
    "declared",
    "daemons/echo/src/x.ts",
    'import type { Port } from "@linkspan/fabric";\nexport type X = Port;\n',
  ],
  ["declared", "core/fabric/src/x.test.ts", 'import { value } from "pg";\nvoid value;\n'],
  [
    "sdk",
    "daemons/irc/src/inbound.ts",
    'import type { value } from "irc-framework";\nexport type X = typeof value;\n',
  ],
  ["cycle", "core/fabric/src/inner.ts", 'import "./x.ts";\nexport const inner = 1;\n'],
  [
    "cycle",
    "core/fabric/src/t.ts",
    'import type { U } from "./u.ts";\nexport const t = 1;\nexport type T = U;\n',
  ],
  ["drivers", "core/worker/src/x.ts", 'import { AmqpBus } from "@linkspan/fabric";\nnew AmqpBus();\n'],
  [
    "drivers",
    "core/worker/src/x.ts",
    'import { type Port, openPgStore as o } from "@linkspan/store";\nvoid o;\n',
  ],
];

function fill(scratch: Scratch): void {
  for (const [file, content] of Object.entries(LEGITIMATE)) scratch.write(file, content);
  scratch.write("core/fabric/src/x.ts", 'export * from "./inner.ts";\n');
}

test("what the rules allow breaks none", async () => {
  using scratch = scratchWorkspace();
  fill(scratch);
  expect((await checkImports(scratch.root)).violations).toEqual([]);
});

test.each(VIOLATIONS)("%s: %s %s", async (rule, file, content) => {
  using scratch = scratchWorkspace();
  fill(scratch);
  scratch.write(file, content);
  const { violations } = await checkImports(scratch.root);
  expect(violations).toContainEqual(expect.objectContaining({ rule, from: file }));
});

test("every rule has a violation here", () => {
  const shown = new Set(VIOLATIONS.map(([rule]) => rule));
  expect([...Object.keys(RULES), "cycle", "drivers"].filter((rule) => !shown.has(rule))).toEqual([]);
});

test("a package that nobody has placed is an error", async () => {
  using scratch = scratchWorkspace();
  scratch.write("package.json", JSON.stringify({ workspaces: ["stray"] }));
  scratch.write("stray/package.json", JSON.stringify({ name: "@linkspan/stray" }));
  await expect(checkImports(scratch.root)).rejects.toThrow("stray has no row");
});

test("a source that was not read is an error", async () => {
  using scratch = scratchWorkspace();
  const { files } = await readGraph(scratch.root);
  expect(files).toContain("core/fabric/src/index.ts");
  expect(() => assertAllRead(files, new Set(files.slice(1)))).toThrow(files[0]);
});
