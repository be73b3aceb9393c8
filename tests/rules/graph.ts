/**
 * The import graph, read by dependency-cruiser with swc's parser, because TypeScript 7 has no API for tools.
 * A file that it did not read would break no rule, so the graph is compared with git's list of sources.
 */
import swcVisitor from "@swc/core/Visitor.js";
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
  readonly typeOnly: boolean;
  /** The files of the cycle that this import closes. */
  readonly cycle: readonly string[];
}

export interface Graph {
  readonly files: readonly string[];
  readonly edges: readonly Edge[];
}

interface Statement {
  readonly type: string;
}

/** swc's visitor, which dependency-cruiser walks with, is older than `using` and throws on it; it cannot import anything. */
function teachUsing(): void {
  const { prototype } = swcVisitor.Visitor as unknown as {
    prototype: {
      visitStatement(statement: Statement): Statement;
      visitVariableDeclarator(d: unknown): unknown;
    };
  };
  const original = prototype.visitStatement;
  prototype.visitStatement = function visitStatement(statement) {
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
  const { module: specifier, resolved: to, coreModule, couldNotResolve, dependencyTypes, cycle } = dependency;
  const kind = coreModule
    ? "builtin"
    : couldNotResolve
      ? "unresolved"
      : to.includes("node_modules/")
        ? "npm"
        : "local";
  const typeOnly = dependencyTypes.includes("type-only");
  return { from, specifier, to, kind, typeOnly, cycle: (cycle ?? []).map(({ name }) => name) };
}

/** @throws Error when a source was not read */
export async function readGraph(root: string): Promise<Graph> {
  const files = sourceFiles(root, "*.ts");
  const before = process.cwd();
  process.chdir(root); // dependency-cruiser takes paths from here, whatever its baseDir
  const { output } = await cruise(
    files,
    {
      baseDir: root,
      parser: "swc",
      tsPreCompilationDeps: true,
      doNotFollow: { path: "node_modules" },
      validate: true,
      ruleSet: { forbidden: [{ name: "cycle", severity: "error", from: {}, to: { circular: true } }] },
    },
    {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"],
      extensions: [".ts", ".js", ".mjs", ".json", ".d.ts"],
      mainFields: ["main", "types"],
    } as Parameters<typeof cruise>[2],
  ).finally(() => process.chdir(before));
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
