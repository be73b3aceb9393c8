/**
 * Which packages a package may import, as architecture.md draws it. Every daemon has the row of `daemons/*`.
 * A row that is missing means a package that nobody has placed yet, and that is an error.
 *
 * The rows are in the order of the layers: a row names only rows above it. By the names of the folders the vault seems
 * to break this order, since core/worker imports the vault and the vault imports core/fabric. But `core` is a folder
 * and not a layer. The bus is below the vault, because the vault's service answers requests that arrive on it; the
 * worker is above the vault, because it stores secrets there and mints the tickets for them. The vault may use only
 * the types of the bus, so that it depends on the port and on no driver.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface Row {
  readonly may: readonly string[];
  /** Only as types: a port, not its drivers. */
  readonly types?: readonly string[];
}

const DAEMON: Row = { may: ["daemons/kit", "core/fabric", "core/time", "envelopes"] };

export const LAYERS: Readonly<Record<string, Row>> = {
  envelopes: { may: [] },
  "core/time": { may: [] },
  "core/media": { may: ["envelopes", "core/time"] },
  "core/fabric": { may: ["envelopes", "core/time"] },
  "core/store": { may: ["envelopes", "core/time"] },
  "core/jobs": { may: ["envelopes", "core/time"] },
  vault: { may: ["envelopes"], types: ["core/fabric"] },
  "daemons/kit": { may: ["envelopes", "core/time", "core/fabric"] },
  "core/worker": {
    may: ["envelopes", "core/time", "core/media", "core/fabric", "core/store", "core/jobs", "vault"],
  },
  "core/api": { may: ["envelopes", "core/media", "core/fabric", "core/store", "vault", "core/worker"] },
  compose: { may: ["envelopes", "core/*", "vault", "daemons/*"] },
  examples: { may: ["envelopes", "core/fabric", "daemons/kit"] },
  tests: { may: ["envelopes", "core/*", "vault", "daemons/*", "compose"] },
};

export interface Package {
  readonly directory: string;
  readonly name: string;
  /** Names in `dependencies`, `peerDependencies` and `optionalDependencies`. */
  readonly dependencies: readonly string[];
  readonly row: Row;
}

interface Manifest {
  readonly name: string;
  readonly workspaces?: readonly string[];
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

function manifest(root: string, directory: string): Manifest {
  return JSON.parse(readFileSync(join(root, directory, "package.json"), "utf8")) as Manifest;
}

function rowOf(directory: string): Row {
  const row = LAYERS[directory] ?? (directory.startsWith("daemons/") ? DAEMON : undefined);
  if (row === undefined) throw new Error(`${directory} has no row in tests/rules/layers.ts`);
  return row;
}

/** The workspace's packages. @throws Error for one without a row */
export function packagesOf(root: string): Package[] {
  return (manifest(root, ".").workspaces ?? [])
    .filter((directory) => existsSync(join(root, directory, "package.json")))
    .map((directory) => {
      const { name, dependencies, peerDependencies, optionalDependencies } = manifest(root, directory);
      const all = { ...dependencies, ...peerDependencies, ...optionalDependencies };
      return { directory, name, dependencies: Object.keys(all), row: rowOf(directory) };
    });
}

/** What only test code may use. */
export function developmentDependencies(root: string): string[] {
  return Object.keys(manifest(root, ".").devDependencies ?? {});
}

/** Whether `directory` is one of `patterns`, where `*` stands for one name. */
export function matches(directory: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) =>
    pattern.endsWith("/*") ? directory.startsWith(pattern.slice(0, -1)) : directory === pattern,
  );
}
