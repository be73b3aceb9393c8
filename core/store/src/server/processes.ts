/**
 * Which processes are PostgreSQL's, of one cluster. Its processes work inside their cluster's directory,
 * which Linux shows; elsewhere only the command line of a known process is asked.
 */
import { execFile } from "node:child_process";
import { readdir, readlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** True only for a PostgreSQL process of this very cluster, not for who was given its number later. */
export async function isServerOf(cluster: string, pid: number): Promise<boolean> {
  if (!isAlive(pid)) return false;
  if (process.platform === "linux") return worksIn(cluster, pid);
  try {
    const { stdout } = await run("ps", ["-ww", "-o", "command=", "-p", String(pid)]);
    return stdout.includes("postgres") && stdout.includes(cluster);
  } catch {
    return false; // it ended before ps looked
  }
}

/** Every PostgreSQL process of this cluster, whether or not its postmaster lives; on Linux only, else none. */
export async function serversOf(cluster: string): Promise<number[]> {
  if (process.platform !== "linux") return [];
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(pids.map(async (pid) => ((await worksIn(cluster, pid)) ? [pid] : [])));
  return found.flat();
}

async function worksIn(cluster: string, pid: number): Promise<boolean> {
  try {
    const directory = await readlink(join("/proc", String(pid), "cwd"));
    if (directory !== cluster) return false;
    const program = await readlink(join("/proc", String(pid), "exe"));
    return basename(program).startsWith("postgres");
  } catch {
    return false; // it ended meanwhile, or is another account's
  }
}
