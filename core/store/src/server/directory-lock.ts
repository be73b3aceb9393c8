/**
 * One process per directory, as the kernel enforces.
 *
 * The holder listens on a socket in the directory for as long as it lives: a SIGKILL closes it at once, a
 * process id that was given to somebody else cannot fake it, and it is seen from another PID namespace that
 * shares the directory. A pid file can promise none of these, and Node has no flock.
 *
 * `lock.<n>` names its holder. The highest number counts; it is held while its socket is answered. To take
 * a dead one, a process listens first and then creates `lock.<n+1>` whole, by a hard link, which only one
 * can do. The highest is never deleted, and whoever finds a higher one after creating its own withdraws, so
 * a slow starter that read an old number cannot hold beside a newer one.
 */
import { randomBytes } from "node:crypto";
import { link, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FabricError } from "@linkspan/envelopes";
import { answers, SignOfLife } from "./sign-of-life.ts";
import type { Watcher } from "./watcher.ts";

export interface LockHolder {
  readonly pid: number;
  /** RFC 3339. */
  readonly since: string;
  /** Where it answers, if it gave an address. */
  readonly url?: string;
}

interface LockRecord extends LockHolder {
  /** Name of its socket, in the same directory. */
  readonly socket: string;
}

export interface LockOptions {
  /** Where the holder answers. */
  readonly url?: string | undefined;
  /** Removes the lock's files when the holder is killed. */
  readonly watcher?: Watcher;
}

export class DirectoryLock implements AsyncDisposable {
  readonly #resources: AsyncDisposableStack;

  private constructor(resources: AsyncDisposableStack) {
    this.#resources = resources;
  }

  /**
   * @param directory exists and is writable
   * @throws FabricError `store.unavailable` naming the process that holds it
   */
  static async acquire(directory: string, { url, watcher }: LockOptions = {}): Promise<DirectoryLock> {
    const socket = `claim.${randomBytes(6).toString("hex")}`;
    const draft = join(directory, `${socket}.json`);
    await using resources = new AsyncDisposableStack();
    if (watcher !== undefined) resources.use(watcher.remove(join(directory, socket)));
    resources.use(await SignOfLife.open(directory, socket));
    const since = new Date().toISOString();
    const record: LockRecord = { pid: process.pid, since, ...(url !== undefined && { url }), socket };
    using _draft = watcher?.remove(draft);
    try {
      await writeFile(draft, JSON.stringify(record), { mode: 0o644 });
      await claim(directory, draft);
    } finally {
      await rm(draft, { force: true });
    }
    return new DirectoryLock(resources.move());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

async function claim(directory: string, draft: string): Promise<void> {
  for (;;) {
    const seen = await numbers(directory);
    const newest = seen.at(-1);
    if (newest !== undefined) await refuseIfHeld(directory, newest);

    const mine = (newest ?? 0) + 1;
    if (!(await linked(draft, lockFile(directory, mine)))) continue;
    const later = (await numbers(directory)).at(-1);
    if (later !== mine) {
      await rm(lockFile(directory, mine), { force: true });
      continue;
    }
    for (const number of seen) await removeDead(directory, number);
    return;
  }
}

async function refuseIfHeld(directory: string, number: number): Promise<void> {
  const record = await readRecord(directory, number);
  if (record === undefined || !(await answers(directory, record.socket))) return;
  const url = record.url === undefined ? "" : ` (${record.url})`;
  throw new FabricError(
    "store.unavailable",
    `${directory} is in use by process ${record.pid}${url} since ${record.since}; stop it or choose another data directory`,
  );
}

/** A live one is of a slow starter, which is about to withdraw it; without its socket it would seem dead. */
async function removeDead(directory: string, number: number): Promise<void> {
  const record = await readRecord(directory, number);
  if (record !== undefined && (await answers(directory, record.socket))) return;
  if (record !== undefined) await rm(join(directory, record.socket), { force: true });
  await rm(lockFile(directory, number), { force: true });
}

function lockFile(directory: string, number: number): string {
  return join(directory, `lock.${number}`);
}

async function numbers(directory: string): Promise<number[]> {
  const names = await readdir(directory);
  const found = names.flatMap((name) => /^lock\.(\d{1,15})$/.exec(name)?.[1] ?? []);
  return found.map(Number).sort((a, b) => a - b);
}

/** @returns undefined for one that was removed, or that a power loss left unreadable: nobody holds it */
async function readRecord(directory: string, number: number): Promise<LockRecord | undefined> {
  try {
    const record: unknown = JSON.parse(await readFile(lockFile(directory, number), "utf8"));
    return record as LockRecord;
  } catch (error) {
    if (error instanceof SyntaxError || hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (hasCode(error, "EEXIST")) return false;
    throw error;
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
