/**
 * A PostgreSQL of our own, for when no database URL is given.
 *
 * It listens on a UNIX socket in a directory of its own and nowhere else, and the kernel tells it who
 * connects: no port that another program could take between two starts, no password to keep, to leak into a
 * log or to compare on each connection, and a URL that can be printed.
 */
import { mkdir, realpath, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { FabricError } from "@linkspan/envelopes";
import { ensureCluster } from "./cluster.ts";
import { DirectoryLock } from "./directory-lock.ts";
import { clearLeftovers } from "./leftovers.ts";
import type { ServerLog } from "./log.ts";
import { choosePlace, type Place, socketDirectory } from "./place.ts";
import { Postmaster, type ServerExit } from "./postmaster.ts";
import { findPrograms } from "./programs.ts";
import { serverArguments, urlOf, writeAccess } from "./settings.ts";
import { type ServerState, Supervisor } from "./supervisor.ts";
import { Watcher } from "./watcher.ts";

export interface EmbeddedServerOptions {
  /** Made if missing, for this account only. Everything in it belongs to one process at a time. */
  readonly dataDir: string;
  readonly log: ServerLog;
  /** Aborts the start. Once started, only disposal stops it: the database must be the last to go. */
  readonly signal?: AbortSignal;
  /** Where this process answers; processes that are refused because of it are shown this. */
  readonly ownerUrl?: string;
  /** The data directory is removed at the end, whatever ends this process. */
  readonly temporary?: boolean;
}

export class EmbeddedServer implements AsyncDisposable {
  /** Of database and role `linkspan`; without a password, the same after each restart. */
  readonly url: string;
  readonly #supervisor: Supervisor;
  readonly #watcher: Watcher;
  readonly #resources: AsyncDisposableStack;
  readonly #exits: Set<(exit: ServerExit) => void>;
  readonly #readies: Set<() => void>;
  #stopped: Promise<void> | undefined;

  private constructor(started: Started) {
    this.url = started.url;
    this.#supervisor = started.supervisor;
    this.#watcher = started.watcher;
    this.#resources = started.resources;
    this.#exits = started.exits;
    this.#readies = started.readies;
  }

  /**
   * Resolves when it accepts connections. A server that an earlier process left running is stopped first. When
   * this process ends in whatever way, the server notices and stops by itself.
   *
   * @throws FabricError `store.unavailable`: another process uses the directory (the detail names it), the
   *   data is of another major version, or the server cannot be run here
   */
  static async start(options: EmbeddedServerOptions): Promise<EmbeddedServer> {
    try {
      return await EmbeddedServer.#start(options);
    } catch (error) {
      if (!(error instanceof Error && "syscall" in error)) throw error;
      throw new FabricError(
        "store.unavailable",
        `no database can run in ${options.dataDir}: ${error.message}`,
        {
          cause: error,
        },
      );
    }
  }

  static async #start(options: EmbeddedServerOptions): Promise<EmbeddedServer> {
    await using stack = new AsyncDisposableStack();
    const { log, signal, temporary = false } = options;
    const watcher = stack.use(new Watcher(log));
    const owner = { url: options.ownerUrl, watcher };

    const dataDir = await dataDirectory(options.dataDir);
    if (temporary) watcher.remove(dataDir);
    const base = join(dataDir, "postgres");
    await mkdir(base, { recursive: true, mode: 0o700 });
    stack.use(await DirectoryLock.acquire(base, owner));
    const place = await choosePlace(base);
    if (temporary && place.home !== base) watcher.remove(place.home);
    // A copied data directory points to the same home as the one it was copied from.
    if (place.home !== base) stack.use(await DirectoryLock.acquire(place.home, owner));
    signal?.throwIfAborted();

    const programs = await findPrograms(place.home, place.account);
    const created = await ensureCluster(place, programs, watcher, signal);
    const socket = await usedSocketDirectory(place, watcher, stack);
    await writeAccess(place);

    const args = serverArguments(place, socket);
    const launch = async (stopping: AbortSignal | undefined): Promise<Postmaster> => {
      await clearLeftovers(place.cluster, socket, log);
      const { cluster, account } = place;
      const { postgres: program } = programs;
      return Postmaster.launch({ program, args, cluster, account, log, watcher, signal: stopping });
    };
    const first = await launch(signal);

    const exits = new Set<(exit: ServerExit) => void>();
    const readies = new Set<() => void>();
    const supervisor = new Supervisor(first, {
      launch,
      log,
      onExit: (exit) => {
        for (const listener of exits) listener(exit);
      },
      onReady: () => {
        for (const listener of readies) listener();
      },
    });
    stack.defer(() => supervisor.stop());
    const interrupt = () => supervisor.interrupt();
    process.once("exit", interrupt);
    stack.defer(() => void process.off("exit", interrupt));

    log.info({ event: "store.server.started", pid: first.pid, cluster: place.cluster, created });
    const url = urlOf(socket);
    return new EmbeddedServer({ url, supervisor, watcher, exits, readies, resources: stack.move() });
  }

  get state(): ServerState {
    return this.#supervisor.state;
  }

  /** Of the server's main process; another after each restart. */
  get pid(): number {
    return this.#supervisor.pid;
  }

  /** Of the process that stops the server when this process has ended. */
  get watcherPid(): number | undefined {
    return this.#watcher.pid;
  }

  /** Told each time the server ended unasked; it is being started again. Dispose to stop listening. */
  onExit(listener: (exit: ServerExit) => void): Disposable {
    this.#exits.add(listener);
    return { [Symbol.dispose]: () => void this.#exits.delete(listener) };
  }

  /** Told each time it accepts connections again. Dispose to stop listening. */
  onReady(listener: () => void): Disposable {
    this.#readies.add(listener);
    return { [Symbol.dispose]: () => void this.#readies.delete(listener) };
  }

  /** Fast shutdown: open transactions are rolled back. Resolves when every process of it has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped ??= this.#resources.disposeAsync();
    await this.#stopped;
  }
}

interface Started {
  readonly url: string;
  readonly supervisor: Supervisor;
  readonly watcher: Watcher;
  readonly resources: AsyncDisposableStack;
  readonly exits: Set<(exit: ServerExit) => void>;
  readonly readies: Set<() => void>;
}

async function dataDirectory(path: string): Promise<string> {
  await mkdir(resolve(path), { recursive: true, mode: 0o700 });
  return realpath(path);
}

async function usedSocketDirectory(
  place: Place,
  watcher: Watcher,
  stack: AsyncDisposableStack,
): Promise<string> {
  const { path, temporary } = await socketDirectory(place);
  if (temporary) {
    stack.use(watcher.remove(path));
    stack.defer(() => rm(path, { recursive: true, force: true }));
  }
  return path;
}
