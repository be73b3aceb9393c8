/** The import rules of architecture.md. CONTRIBUTING.md lists them; import-rules.test.ts breaks each. */
import { driverImports } from "./drivers.ts";
import { type Edge, readGraph, wayBetween } from "./graph.ts";
import { developmentDependencies, matches, type Package, packagesOf } from "./layers.ts";
import { TEST_CODE } from "./sources.ts";

export interface Violation {
  readonly rule: string;
  readonly from: string;
  readonly detail: string;
}

export interface Workspace {
  readonly packages: readonly Package[];
  readonly development: readonly string[];
}

/** An import, with the packages at both ends where they are ours. */
interface Import extends Edge {
  readonly workspace: Workspace;
  readonly own: Package | undefined;
  readonly target: Package | undefined;
  readonly inTest: boolean;
}

type Rule = (edge: Import) => string | undefined;

const isTest = (file: string): boolean => new RegExp(TEST_CODE).test(file);

/** `@scope/name` or `name`, of a specifier that is neither relative nor built in. */
function packageName(specifier: string): string {
  return specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
}

function packageAt(packages: readonly Package[], { kind, to, specifier }: Edge): Package | undefined {
  const byPath =
    kind === "local" ? packages.find(({ directory }) => to.startsWith(`${directory}/`)) : undefined;
  return byPath ?? packages.find(({ name }) => name === packageName(specifier));
}

/** What daemons may use beside their platform's SDK. */
const NOT_A_PLATFORM = ["zod", "pino"];

export const RULES: Readonly<Record<string, Rule>> = {
  /** A path that leads nowhere, or past what a package exports. */
  resolvable: ({ kind }) =>
    kind === "unresolved" ? "does not exist, or its package does not export it" : undefined,

  /** Packages import only those below them. */
  layers: ({ own, target, inTest }) => {
    if (own === undefined || target === undefined || own === target) return undefined;
    if (inTest && target.directory === "tests") return undefined;
    if (matches(target.directory, [...own.row.may, ...(own.row.types ?? [])])) return undefined;
    return `${own.directory} may not import ${target.directory}`;
  },

  /** A port may be imported where its drivers may not. */
  "types-only": ({ own, target, typeOnly, kind, inTest }) => {
    if (own === undefined || target === undefined || typeOnly || inTest || kind === "unresolved")
      return undefined;
    if (!matches(target.directory, own.row.types ?? [])) return undefined;
    return `${own.directory} may import ${target.directory} only as types`;
  },

  /** Other packages are imported by name. */
  "by-name": ({ own, target, specifier, kind, inTest }) => {
    if (kind !== "local" || !specifier.startsWith(".") || own === target) return undefined;
    if (target?.directory === "tests" && inTest) return undefined;
    return "leaves its package by a path; import the package by its name";
  },

  /** Nothing but tests imports tests. */
  "no-tests": ({ kind, to, target, inTest }) => {
    if (inTest) return undefined;
    return target?.directory === "tests" || (kind === "local" && isTest(to)) ? "is test code" : undefined;
  },

  /** A package lists what it imports; development dependencies are for tests. */
  declared: ({ own, specifier, kind, inTest, workspace }) => {
    if (kind === "builtin" || specifier.startsWith(".")) return undefined;
    const name = packageName(specifier);
    if (name === own?.name || own?.dependencies.includes(name)) return undefined;
    const development = workspace.development.some((known) => known === name || known === `@types/${name}`);
    if (inTest && (development || name === "@linkspan/tests")) return undefined;
    const why = development ? "is for tests and tools only" : "is not listed there";
    return `${name} ${why} (${own?.directory ?? "."}/package.json)`;
  },

  /** In a daemon only client.ts knows the platform's SDK. */
  sdk: ({ from, own, target, specifier, kind, workspace, inTest }) => {
    if (own === undefined || !own.directory.startsWith("daemons/") || own.directory === "daemons/kit")
      return undefined;
    if (kind === "builtin" || target !== undefined || specifier.startsWith(".")) return undefined;
    const name = packageName(specifier);
    if (NOT_A_PLATFORM.includes(name) || (inTest && workspace.development.includes(name))) return undefined;
    return from === `${own.directory}/src/client.ts` ? undefined : `only client.ts may import ${name}`;
  },
};

function checkEdge(workspace: Workspace, edge: Edge): Violation[] {
  const own = workspace.packages.find(({ directory }) => edge.from.startsWith(`${directory}/`));
  const target = edge.kind === "builtin" ? undefined : packageAt(workspace.packages, edge);
  const whole: Import = { ...edge, workspace, own, target, inTest: isTest(edge.from) };
  return Object.entries(RULES).flatMap(([rule, check]) => {
    const detail = check(whole);
    return detail === undefined ? [] : [{ rule, from: edge.from, detail: `${edge.specifier}: ${detail}` }];
  });
}

/** The composition roots: the command's, each daemon's own for running by itself, and the examples, which are whole programs. */
const COMPOSES = /^(?:compose\/|examples\/|daemons\/[a-z]+\/src\/main\.ts$)/;

/** Drivers are constructed only in composition roots, and in tests. */
function checkDrivers(root: string, files: readonly string[]): Violation[] {
  return files
    .filter((file) => !COMPOSES.test(file) && !isTest(file))
    .flatMap((from) =>
      driverImports(root, from).map(({ specifier, name }) => ({
        rule: "drivers",
        from,
        detail: `${specifier}: ${name} is a driver; take its port as an argument`,
      })),
    );
}

/**
 * No file imports itself, however far around. Imports of types count too: they do not run, but files that need
 * each other to be understood are one file in several pieces.
 */
function checkCycles(edges: readonly Edge[]): Violation[] {
  return edges.flatMap(({ from, specifier, to, kind }) => {
    const around = kind === "local" ? wayBetween(edges, to, from) : undefined;
    if (around === undefined) return [];
    return [{ rule: "cycle", from, detail: `${specifier}: goes around: ${around.join(" → ")}` }];
  });
}

export interface Report {
  readonly files: number;
  readonly imports: number;
  readonly violations: readonly Violation[];
}

export async function checkImports(root: string): Promise<Report> {
  const workspace = { packages: packagesOf(root), development: developmentDependencies(root) };
  const { files, edges } = await readGraph(root);
  const violations = edges.flatMap((edge) => checkEdge(workspace, edge));
  violations.push(...checkCycles(edges), ...checkDrivers(root, files));
  return { files: files.length, imports: edges.length, violations };
}
