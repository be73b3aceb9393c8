import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { FabricError } from "@linkspan/envelopes";
import { giveTo } from "./account.ts";
import { freshName, type Place } from "./place.ts";
import type { Programs } from "./programs.ts";
import { runToEnd } from "./run.ts";
import { DATABASE, ROLE } from "./settings.ts";
import type { Watcher } from "./watcher.ts";

/**
 * Makes the cluster if there is none: under another name, renamed when it is complete and on disk, so that
 * a start which was cut short leaves nothing that looks like one.
 *
 * @returns whether it was made now
 * @throws FabricError `store.unavailable` when it cannot be made, or belongs to another major version
 */
export async function ensureCluster(
  place: Place,
  programs: Programs,
  watcher: Watcher,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const names = await readdir(place.home);
  for (const name of names.filter((entry) => entry.startsWith("cluster.new-"))) {
    await rm(join(place.home, name), { recursive: true, force: true, maxRetries: 5 });
  }
  if (names.includes("cluster")) {
    await requireVersion(place, programs);
    return false;
  }
  const unfinished = freshName(place.cluster);
  using _unfinished = watcher.remove(unfinished);
  try {
    await initialise(unfinished, place, programs, watcher, signal);
  } catch (cause) {
    await rm(unfinished, { recursive: true, force: true, maxRetries: 5 });
    signal?.throwIfAborted();
    throw new FabricError(
      "store.unavailable",
      `no database could be made in ${place.home}: ${textOf(cause)}`,
      {
        cause,
      },
    );
  }
  await rename(unfinished, place.cluster);
  await syncDirectory(place.home);
  return true;
}

async function initialise(
  directory: string,
  place: Place,
  programs: Programs,
  watcher: Watcher,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { account } = place;
  await mkdir(directory, { mode: 0o700 });
  await giveTo(account, directory);
  // The built-in collation sorts alike whatever C library the data directory is opened with later.
  const locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8"];
  const access = ["--username=postgres", "--auth-local=peer", "--auth-host=reject"];
  await runToEnd(programs.initdb, ["-D", directory, "--no-instructions", ...access, ...locale], {
    account,
    signal,
    watcher,
  });
  const sql = `CREATE ROLE ${ROLE} LOGIN;\n\nCREATE DATABASE ${DATABASE} OWNER ${ROLE};\n\n`;
  await runToEnd(
    programs.postgres,
    ["--single", "-j", "-c", "exit_on_error=on", "-D", directory, "postgres"],
    {
      account,
      signal,
      watcher,
      input: sql,
    },
  );
}

async function requireVersion(place: Place, programs: Programs): Promise<void> {
  const found = await readVersion(place.cluster);
  if (found === programs.major) return;
  const what = found === undefined ? "is no PostgreSQL cluster" : `was written by PostgreSQL ${found}`;
  throw new FabricError(
    "store.unavailable",
    `${place.cluster} ${what} and this version brings ${programs.major}; dump it with the version that wrote it, ` +
      "move it away and restore, or give a database URL instead",
  );
}

async function readVersion(cluster: string): Promise<number | undefined> {
  try {
    const text = (await readFile(join(cluster, "PG_VERSION"), "utf8")).trim();
    return /^\d+$/.test(text) ? Number(text) : undefined;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** A rename survives a power loss only once the directory is on disk. */
async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
