/**
 * One private server process. `start` resolves when the server answers; `kill` is SIGKILL, as a crash
 * would be; `stop` is its clean shutdown; `restart` comes back on the same ports with the same data;
 * disposing ends every process of its tree and removes its directory, and so does the end of this process,
 * also by SIGKILL.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { appendFileSync, closeSync, openSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { Watcher } from "@linkspan/store/server";
import { runAs } from "./account.ts";
import type { Port } from "./port.ts";
import { isAlive, killTree, signal, treeOf } from "./process-tree.ts";
import { until } from "./until.ts";

export interface Program {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  /** Runs as this account when the tests run as root. */
  readonly account: string;
  /** Home and working directory; removed at the end. */
  readonly directory: string;
  readonly ports: readonly Port[];
  /** Added to a small clean environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** True once the server answers; may throw while it does not. */
  readonly answers: () => Promise<boolean>;
  readonly stopSignal?: NodeJS.Signals;
  /** Takes back what a killed server left outside of its directory. */
  readonly clean?: () => void;
  readonly startTimeoutMs?: number;
  /** Runs beside it, started before and ended after it. */
  readonly companion?: Server;
}

const LOG_TAIL = 4_000;
const run = promisify(execFile);
const nothing = (): void => undefined;

function environment(directory: string, env: Program["env"]): NodeJS.ProcessEnv {
  return { PATH: process.env["PATH"], HOME: directory, LANG: "C.UTF-8", ...env };
}

export class Server implements AsyncDisposable {
  readonly #program: Program;
  readonly #log: string;
  readonly #watcher = new Watcher({ debug: nothing, info: nothing, warn: nothing, error: nothing });
  #watched: Disposable | undefined;
  #child: ChildProcess | undefined;
  readonly #onExit = (): void => this.#abandon();

  constructor(program: Program) {
    this.#program = program;
    this.#log = join(program.directory, "output.log");
    this.#watcher.remove(program.directory);
    process.once("exit", this.#onExit);
  }

  /** The server's main process, the one a crash takes. @throws Error when it is not running */
  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`${this.#program.name} is not running`);
    return pid;
  }

  get running(): boolean {
    return this.#child?.pid !== undefined && isAlive(this.#child.pid);
  }

  get directory(): string {
    return this.#program.directory;
  }

  /** The end of what it printed. */
  log(): string {
    return readFileSync(this.#log, "utf8").slice(-LOG_TAIL);
  }

  /** Resolves when it answers; a start that fails leaves nothing behind. */
  async start(): Promise<void> {
    const { name, startTimeoutMs = 60_000 } = this.#program;
    if (this.running) throw new Error(`${name} is already running`);
    const child = this.#spawn();
    try {
      await until(() => this.#answers(child), { what: `${name} to answer`, timeoutMs: startTimeoutMs });
    } catch (cause) {
      const log = this.log();
      await this[Symbol.asyncDispose]();
      throw new Error(`${name} did not start: ${(cause as Error).message}\n${log}`, { cause });
    }
  }

  /** SIGKILL; resolves when every process of it is gone. */
  async kill(): Promise<void> {
    if (this.#child?.pid !== undefined) await killTree(this.#child.pid);
    this.#gone();
  }

  /** Asks it to end, and waits until it has. */
  async stop(): Promise<void> {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    const tree = treeOf(pid);
    signal(pid, this.#program.stopSignal ?? "SIGTERM");
    await until(() => !tree.some(isAlive), { what: `${this.#program.name} to stop` });
    this.#gone();
  }

  /** Same ports, same data. Stops it first if it still runs. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off("exit", this.#onExit);
    await this.kill();
    await this.#program.companion?.[Symbol.asyncDispose]();
    this.#program.clean?.();
    await this.#watcher[Symbol.asyncDispose]();
    rmSync(this.#program.directory, { recursive: true, force: true });
    for (const port of this.#program.ports) port.release();
  }

  #spawn(): ChildProcess {
    const { command, account, directory, env } = this.#program;
    const [file, ...args] = runAs(account, command);
    const log = openSync(this.#log, "a");
    const child = spawn(file, args, {
      cwd: directory,
      stdio: ["ignore", log, log],
      detached: true,
      env: environment(directory, env),
    });
    closeSync(log);
    child.once("error", (error) => appendFileSync(this.#log, `${error.message}\n`));
    child.unref();
    if (child.pid !== undefined) {
      const steps = [
        [this.#program.stopSignal ?? "SIGTERM", 10],
        ["SIGKILL", 5],
      ] as const;
      this.#watched = this.#watcher.watch(child.pid, { steps, group: true });
    }
    this.#child = child;
    return child;
  }

  #gone(): void {
    this.#watched?.[Symbol.dispose]();
    this.#watched = undefined;
    this.#child = undefined;
  }

  async #answers(child: ChildProcess): Promise<boolean> {
    if (child.pid === undefined) throw new Error("it could not be run");
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`it ended with ${child.exitCode ?? child.signalCode}`);
    }
    try {
      return await this.#program.answers();
    } catch {
      return false; // not yet; `start` has the deadline and prints the log
    }
  }

  /** The test process ends without disposing: synchronous, so nothing can be awaited. */
  #abandon(): void {
    if (this.#child?.pid !== undefined) for (const pid of treeOf(this.#child.pid)) signal(pid, "SIGKILL");
    this.#program.clean?.();
    rmSync(this.#program.directory, { recursive: true, force: true });
  }
}

export interface Question {
  readonly account: string;
  readonly directory: string;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
}

/** Runs a command to its end in a server's environment. @returns what it printed; anything but exit code 0 throws */
export async function ask({ account, directory, command, env, input }: Question): Promise<string> {
  const [file, ...args] = runAs(account, command);
  const running = run(file, args, { cwd: directory, env: environment(directory, env) });
  running.child.stdin?.end(input);
  return (await running).stdout;
}

/** Starts the program and adds what a test must know of it. */
export async function startServer<Facts extends object>(
  program: Program,
  facts: Facts,
): Promise<Server & Facts> {
  const server = new Server(program);
  await server.start();
  return Object.assign(server, facts);
}
