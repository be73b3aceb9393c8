/**
 * One process per directory, told apart by the kernel.
 *
 * The holder listens on a socket in the directory for as long as it lives: a SIGKILL closes it at once, a
 * process id that was given to somebody else cannot fake it, and it is seen from another PID namespace that
 * shares the directory. A pid file can promise none of these, and Node has no flock.
 *
 * `lock.<n>` says who holds it. The highest number counts; it is held while its socket is answered. To take
 * a dead one, a process listens first and then creates `lock.<n+1>` whole, by a hard link, which only one
 * can do. The highest is never deleted, and whoever finds a higher one after creating its own withdraws, so
 * a slow starter that read an old number cannot hold beside a newer one.
 */
import { randomBytes } from "node:crypto";
import { type FileHandle, link, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import { FabricError } from "@linkspan/envelopes";

export interface LockHolder {
  readonly pid: number;
  /** RFC 3339. */
  readonly since: string;
  /** Where it answers, when it said so. */
  readonly url?: string;
}

interface LockRecord extends LockHolder {
  /** Name of its socket, in the same directory. */
  readonly socket: string;
}

/** Of a socket's path, on the strictest system. */
const MAX_SOCKET_PATH_BYTES = 103;

export class DirectoryLock implements AsyncDisposable {
  readonly #listener: Listener;

  private constructor(listener: Listener) {
    this.#listener = listener;
  }

  /**
   * @param directory exists and is writable
   * @throws FabricError `store.unavailable` naming the process that holds it
   */
  static async acquire(directory: string, options: { readonly url?: string } = {}): Promise<DirectoryLock> {
    const socket = `claim.${randomBytes(6).toString("hex")}`;
    const listener = await Listener.open(directory, socket);
    const since = new Date().toISOString();
    const record: LockRecord = { pid: process.pid, since, ...options, socket };
    const draft = join(directory, `${socket}.json`);
    try {
      await writeFile(draft, JSON.stringify(record), { mode: 0o644 });
      await claim(directory, draft);
    } catch (error) {
      await listener[Symbol.asyncDispose]();
      throw error;
    } finally {
      await rm(draft, { force: true });
    }
    return new DirectoryLock(listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#listener[Symbol.asyncDispose]();
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

async function removeDead(directory: string, number: number): Promise<void> {
  const record = await readRecord(directory, number);
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

/** What cannot be asked (another account's) counts as alive. */
async function answers(directory: string, name: string): Promise<boolean> {
  await using address = await SocketAddress.of(directory, name);
  return await new Promise((resolve) => {
    const socket = connect(address.path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error) => resolve(!hasCode(error, "ECONNREFUSED") && !hasCode(error, "ENOENT")));
  });
}

class Listener implements AsyncDisposable {
  readonly #server: Server;
  readonly #address: SocketAddress;

  private constructor(server: Server, address: SocketAddress) {
    this.#server = server;
    this.#address = address;
  }

  static async open(directory: string, name: string): Promise<Listener> {
    const address = await SocketAddress.of(directory, name);
    const server = createServer((socket) => socket.destroy());
    try {
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        // The directory is closed; another account that may enter it must see who is dead.
        server.listen({ path: address.path, readableAll: true, writableAll: true }, resolve);
      });
    } catch (cause) {
      await address[Symbol.asyncDispose]();
      throw new FabricError("store.unavailable", `${directory} cannot hold a lock; is it on a local disk?`, {
        cause,
      });
    }
    server.unref();
    return new Listener(server, address);
  }

  /** Closing removes the socket's file. */
  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await this.#address[Symbol.asyncDispose]();
  }
}

/** A path short enough for a socket; on Linux a deep directory is named by its descriptor. */
class SocketAddress implements AsyncDisposable {
  readonly path: string;
  readonly #directory: FileHandle | undefined;

  private constructor(path: string, directory?: FileHandle) {
    this.path = path;
    this.#directory = directory;
  }

  static async of(directory: string, name: string): Promise<SocketAddress> {
    const path = join(directory, name);
    if (Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES || process.platform !== "linux") {
      return new SocketAddress(path);
    }
    const handle = await open(directory);
    return new SocketAddress(join("/proc/self/fd", String(handle.fd), name), handle);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#directory?.close();
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
