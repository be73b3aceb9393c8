/** One run of the server: a child process from its start to its end. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { FabricError } from "@linkspan/envelopes";
import { within } from "@linkspan/time";
import type { Account } from "./account.ts";
import type { ServerLog } from "./log.ts";
import { identityOf, serverEnvironment } from "./environment.ts";
import { GO, gated, type StopStep, type Watcher } from "./watcher.ts";

export interface ServerExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Launch {
  readonly program: string;
  readonly args: readonly string[];
  readonly cluster: string;
  readonly account: Account | undefined;
  readonly log: ServerLog;
  /** Stops it when this process ends before it does. */
  readonly watcher: Watcher;
  readonly signal?: AbortSignal | undefined;
}

/** Recovery after a crash replays what was written since the last checkpoint. */
const READY_WITHIN_MS = 300_000;
const LOOK_EVERY_MS = 5;
/** Fast, then immediate, then by force: each keeps all that was committed. */
const STOP_STEPS: readonly StopStep[] = [
  ["SIGINT", 60],
  ["SIGQUIT", 10],
  ["SIGKILL", 10],
];
const KEPT_LINES = 5;

export class Postmaster {
  readonly pid: number;
  /** Settles once, when the process has ended; never rejects. */
  readonly exited: Promise<ServerExit>;
  readonly #child: ChildProcess;
  readonly #complaints: string[] = [];
  #running = true;

  private constructor(child: ChildProcess, pid: number, { log, watcher }: Launch) {
    this.#child = child;
    this.pid = pid;
    const watched = watcher.watch(pid, { steps: STOP_STEPS });
    this.exited = new Promise((resolve) => {
      child.once("exit", (code, signal) => {
        watched[Symbol.dispose]();
        this.#running = false;
        resolve({ code, signal });
      });
    });
    if (child.stderr) createInterface({ input: child.stderr }).on("line", (line) => this.#report(line, log));
  }

  /**
   * Resolves when it accepts connections.
   *
   * @throws FabricError `store.unavailable` when it ends instead, or takes more than five minutes
   */
  static async launch(launch: Launch): Promise<Postmaster> {
    const postmaster = await spawned(launch);
    try {
      await postmaster.#ready(launch.cluster, launch.signal);
      return postmaster;
    } catch (error) {
      await postmaster.stop();
      throw error;
    }

    async function spawned(launch: Launch): Promise<Postmaster> {
      const { account } = launch;
      const [program, ...args] = gated(launch.program, launch.args);
      // Its own process group: a terminal's Ctrl-C must reach us, not the database before us.
      const child = spawn(program, args, {
        cwd: "/",
        env: serverEnvironment(),
        stdio: ["pipe", "ignore", "pipe"],
        detached: true,
        ...identityOf(account),
      });
      child.stdin.on("error", () => undefined); // it ended early; the exit tells
      const { pid } = child;
      if (pid !== undefined) {
        const postmaster = new Postmaster(child, pid, launch);
        child.stdin.end(GO);
        return postmaster;
      }
      const cause = await new Promise<Error>((resolve) => child.once("error", resolve));
      const who = account === undefined ? "" : ` as ${account.name}`;
      throw new FabricError("store.unavailable", `the database cannot be run${who}: ${cause.message}`, {
        cause,
      });
    }
  }

  /** Resolves when it has ended. */
  async stop(): Promise<void> {
    for (const [signal, seconds] of STOP_STEPS) {
      if (!this.#running) return;
      this.#child.kill(signal);
      await within(seconds * 1_000, this.exited);
    }
    await this.exited;
  }

  /** Asks for a fast shutdown and does not wait; for the synchronous end of the process. */
  interrupt(): void {
    if (this.#running) this.#child.kill("SIGINT");
  }

  /** PostgreSQL's own protocol for it: the eighth line of its pid file. */
  async #ready(cluster: string, signal: AbortSignal | undefined): Promise<void> {
    const deadline = performance.now() + READY_WITHIN_MS;
    while (performance.now() < deadline) {
      signal?.throwIfAborted();
      if (!this.#running) {
        const { code, signal: by } = await this.exited;
        const end = `the database ended as it started (${code ?? by})`;
        throw new FabricError("store.unavailable", [end, ...this.#complaints].join(": "));
      }
      const lines = (await readPidFile(cluster)).split("\n");
      if (Number(lines[0]) === this.pid && lines[7]?.trim() === "ready") return;
      await delay(LOOK_EVERY_MS);
    }
    throw new FabricError("store.unavailable", "the database did not come up within five minutes");
  }

  #report(line: string, log: ServerLog): void {
    const grave = /^(FATAL|PANIC|ERROR):/.test(line);
    if (grave) {
      this.#complaints.push(line);
      if (this.#complaints.length > KEPT_LINES) this.#complaints.shift();
    }
    const fields = { event: "store.server.log", pid: this.pid, line } as const;
    if (line.startsWith("PANIC:")) log.error(fields);
    else log.debug(fields);
  }
}

async function readPidFile(cluster: string): Promise<string> {
  try {
    return await readFile(join(cluster, "postmaster.pid"), "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
    throw error;
  }
}
