/**
 * The import graph, read by dependency-cruiser with swc's parser, because TypeScript 7 has no API for tools.
 * A file that it did not read would break no rule, so the graph is compared with git's list of sources.
 */
import { createRequire } from "node:module";
import { cruise, type ICruiseResult } from "dependency-cruiser";
import { sourceFiles } from "./sources.ts";

export interface Edge {
  /** Path from the root, of the importing file. */
  readonly from: string;
  /** As written. */
  readonly specifier: string;
  /** Path from the root (symbolic links followed), a built-in's name, or the specifier when unresolved. */
  readonly to: string;
  readonly kind: "local" | "npm" | "builtin" | "unresolved";
  /** Erased before the file runs. */
  readonly typeOnly: boolean;
}

export interface Graph {
  readonly files: readonly string[];
  readonly edges: readonly Edge[];
}

interface Statement {
  readonly type: string;
}

interface Walker {
  visitStatement: (this: Walker, statement: Statement) => Statement;
  visitVariableDeclarator: (this: Walker, declarator: unknown) => unknown;
}

/**
 * swc's visitor, with which dependency-cruiser walks, is older than `using` and throws on it. A declaration
 * cannot import anything itself, but what it is set to can.
 */
function teachUsing(): void {
  const require = createRequire(import.meta.url); // the very module that dependency-cruiser extends
  const walker = (require("@swc/core/Visitor.js") as { Visitor: { prototype: Walker } }).Visitor.prototype;
  const original = walker.visitStatement;
  walker.visitStatement = function visitStatement(statement) {
    if (statement.type !== "UsingDeclaration") return original.call(this, statement);
    for (const declarator of (statement as unknown as { decls: unknown[] }).decls) {
      this.visitVariableDeclarator(declarator);
    }
    return statement;
  };
}
teachUsing();

type CruisedDependency = ICruiseResult["modules"][number]["dependencies"][number];

function toEdge(from: string, dependency: CruisedDependency): Edge {
  const { module: specifier, resolved: to, coreModule, couldNotResolve, dependencyTypes } = dependency;
  const kind = coreModule
    ? "builtin"
    : couldNotResolve
      ? "unresolved"
      : to.includes("node_modules/")
        ? "npm"
        : "local";
  const typeOnly = dependencyTypes.includes("type-only");
  return { from, specifier, to, kind, typeOnly };
}

/** @throws Error when a source was not read */
export async function readGraph(root: string): Promise<Graph> {
  const files = sourceFiles(root, "*.ts");
  const { output } = await cruise(
    files,
    {
      baseDir: root,
      parser: "swc",
      tsPreCompilationDeps: true,
      doNotFollow: { path: "node_modules" },
    },
    {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"],
      extensions: [".ts", ".js", ".mjs", ".json", ".d.ts"],
      mainFields: ["main", "types"],
    },
  );
  const { modules } = output as ICruiseResult;
  assertAllRead(files, new Set(modules.map(({ source }) => source)));
  const edges = modules
    .filter(({ source }) => !source.includes("node_modules/"))
    .flatMap(({ source, dependencies }) => dependencies.map((dependency) => toEdge(source, dependency)));
  return { files, edges };
}

export function assertAllRead(files: readonly string[], read: ReadonlySet<string>): void {
  const unread = files.filter((file) => !read.has(file));
  if (unread.length === 0) return;
  throw new Error(`dependency-cruiser read ${read.size} modules but not these sources: ${unread.join(", ")}`);
}

/** The shortest way from one file to another along imports of any sort; undefined when there is none. */
export function wayBetween(edges: readonly Edge[], from: string, to: string): string[] | undefined {
  const next = Map.groupBy(
    edges.filter(({ kind }) => kind === "local"),
    (edge) => edge.from,
  );
  const cameFrom = new Map<string, string | undefined>([[from, undefined]]);
  for (const file of cameFrom.keys()) {
    if (file === to) {
      const way: string[] = [];
      for (let at: string | undefined = to; at !== undefined; at = cameFrom.get(at)) way.unshift(at);
      return way;
    }
    for (const edge of next.get(file) ?? []) if (!cameFrom.has(edge.to)) cameFrom.set(edge.to, file);
  }
  return undefined;
}
