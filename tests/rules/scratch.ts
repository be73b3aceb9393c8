/** A small workspace of the same shape as ours, in a temporary directory, to break rules in. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";

export interface Scratch extends Disposable {
  readonly root: string;
  readonly write: (file: string, content: string) => void;
}

/** An empty git repository. */
export function scratchRepository(): Scratch {
  const root = realpathSync(mkdtempSync(join(tmpdir(), "linkspan-rules-")));
  execFileSync("git", ["init", "--quiet"], { cwd: root });
  const write = (file: string, content: string): void => {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), content);
  };
  write(".gitignore", "node_modules\n");
  return { root, write, [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }) };
}

/** Directory, then what its package.json lists. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  envelopes: ["zod"],
  "core/fabric": ["@linkspan/envelopes"],
  "core/store": ["@linkspan/envelopes", "pg"],
  "core/worker": ["@linkspan/envelopes", "@linkspan/fabric", "@linkspan/store", "@linkspan/vault"],
  vault: ["@linkspan/envelopes", "@linkspan/fabric"],
  "daemons/kit": ["@linkspan/envelopes", "@linkspan/fabric"],
  "daemons/echo": ["@linkspan/envelopes", "@linkspan/kit", "zod"],
  "daemons/irc": ["@linkspan/envelopes", "@linkspan/kit", "irc-framework", "zod"],
  compose: ["@linkspan/envelopes", "@linkspan/fabric", "@linkspan/irc", "@linkspan/store"],
  tests: ["@linkspan/compose"],
};

const THIRD_PARTY = ["zod", "pg", "irc-framework", "vitest"];

const nameOf = (directory: string): string => `@linkspan/${directory.split("/").at(-1)}`;

/** Packages with one export each, importing as they may; every rule holds. */
export function scratchWorkspace(): Scratch {
  const scratch = scratchRepository();
  const { root, write } = scratch;

  write(
    "package.json",
    JSON.stringify({ workspaces: Object.keys(PACKAGES), devDependencies: { vitest: "1.0.0" } }),
  );
  for (const [directory, dependencies] of Object.entries(PACKAGES)) {
    const name = nameOf(directory);
    const listed = Object.fromEntries(dependencies.map((dependency) => [dependency, "1.0.0"]));
    const exports = { ".": "./src/index.ts" };
    write(
      `${directory}/package.json`,
      JSON.stringify({ name, type: "module", exports, dependencies: listed }),
    );
    write(
      `${directory}/src/index.ts`,
      "export interface Port { n: number }\nexport const value: Port = { n: 1 };\n",
    );
    const link = join(root, "node_modules", name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(relative(dirname(link), join(root, directory)), link);
  }
  for (const name of THIRD_PARTY) {
    write(
      `node_modules/${name}/package.json`,
      JSON.stringify({ name, type: "module", exports: "./index.js" }),
    );
    write(`node_modules/${name}/index.js`, "export const value = 1;\n");
  }
  write("core/fabric/src/inner.ts", "export const inner = 1;\n");
  write("tests/servers/postgres.ts", "export const value = 1;\n");
  return scratch;
}
