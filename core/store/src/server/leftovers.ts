/**
 * Leftovers of an earlier run: a postmaster that outlived its parent's SIGKILL, backends that outlived
 * their postmaster's, lock files and sockets that name a process number which now is somebody else's.
 *
 * An orphaned postmaster is stopped, not adopted: its own restart takes tens of milliseconds, and afterwards
 * it is our child, with the settings of this version, whose end the kernel reports.
 */
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ServerLog } from "./log.ts";
import { isAlive, isServerOf, serversOf } from "./processes.ts";

/** Fast shutdown writes a checkpoint first; a slow disk may need this long. */
const FAST_STOP_MS = 60_000;
const IMMEDIATE_STOP_MS = 10_000;
const LOOK_EVERY_MS = 10;

/** Call only while holding the directory's lock and running no server. */
export async function clearLeftovers(
  cluster: string,
  socketDirectory: string,
  log: ServerLog,
): Promise<void> {
  const pid = await recordedPid(cluster);
  if (pid !== undefined && (await isServerOf(cluster, pid))) {
    log.warn({ event: "store.server.orphan", pid });
    await stopServer(cluster, pid);
  }
  await endBackends(cluster, log);
  if (pid !== undefined && isAlive(pid) && !(await isServerOf(cluster, pid))) {
    // PostgreSQL would refuse to start because that number is in use; a dead one it clears up itself.
    await rm(join(cluster, "postmaster.pid"), { force: true });
  }
  for (const name of await readdir(socketDirectory)) {
    if (name.startsWith(".s.PGSQL.")) await rm(join(socketDirectory, name), { force: true });
  }
}

/** Fast, then immediate, then by force; every one of them loses nothing that was committed. */
async function stopServer(cluster: string, pid: number): Promise<void> {
  const gone = async () => !(await isServerOf(cluster, pid));
  for (const [signal, waitMs] of [
    ["SIGINT", FAST_STOP_MS],
    ["SIGQUIT", IMMEDIATE_STOP_MS],
    ["SIGKILL", IMMEDIATE_STOP_MS],
  ] as const) {
    if (await gone()) return;
    signalTo(pid, signal);
    if (await endsWithin(waitMs, gone)) return;
  }
}

/** They end by themselves when their postmaster is gone; one that hangs would keep the next from starting. */
async function endBackends(cluster: string, log: ServerLog): Promise<void> {
  const gone = async () => (await serversOf(cluster)).length === 0;
  if (await endsWithin(IMMEDIATE_STOP_MS, gone)) return;
  const pids = await serversOf(cluster);
  log.warn({ event: "store.server.backends_killed", pids });
  for (const pid of pids) signalTo(pid, "SIGKILL");
  await endsWithin(IMMEDIATE_STOP_MS, gone);
}

async function endsWithin(ms: number, holds: () => Promise<boolean>): Promise<boolean> {
  const deadline = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > deadline) return false;
    await delay(LOOK_EVERY_MS);
  }
  return true;
}

function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/** First line of `postmaster.pid`. */
async function recordedPid(cluster: string): Promise<number | undefined> {
  try {
    const pid = Number((await readFile(join(cluster, "postmaster.pid"), "utf8")).split("\n")[0]);
    return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
