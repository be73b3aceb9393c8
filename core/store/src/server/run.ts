/** Runs one of PostgreSQL's programs to its end. */
import { type ChildProcess, spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import type { Account } from "./account.ts";
import { identityOf, serverEnvironment } from "./environment.ts";
import { GO, gated, type StopStep, type Watcher } from "./watcher.ts";

export interface RunOptions {
  readonly account: Account | undefined;
  readonly input?: string;
  readonly signal?: AbortSignal | undefined;
  /** Stops it when this process ends before it does. */
  readonly watcher?: Watcher;
}

const POLITE_S = 20;
/** Politely only to initdb itself: its server of the moment would end without giving its shared memory back. */
const STOP_STEPS: readonly StopStep[] = [
  ["SIGTERM", POLITE_S],
  ["SIGKILL", 5],
];

/**
 * In a process group of its own: a terminal's Ctrl-C reaches this process, which then decides.
 *
 * @returns what it printed; an exit code other than 0 rejects with the end of what it complained
 */
export async function runToEnd(file: string, args: readonly string[], options: RunOptions): Promise<string> {
  const { account, input = "", signal, watcher } = options;
  signal?.throwIfAborted();
  const [program, ...rest] = watcher === undefined ? [file, ...args] : gated(file, args);
  const child = spawn(program, rest, {
    cwd: "/",
    env: serverEnvironment(),
    detached: true,
    ...identityOf(account),
  });
  const ended = new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", () => resolve());
  });
  using resources = new DisposableStack();
  if (child.pid !== undefined && watcher !== undefined) {
    resources.use(watcher.watch(child.pid, { steps: STOP_STEPS, group: true }));
  }
  if (signal !== undefined) resources.defer(stopWhenAborted(child, signal));
  child.stdin.on("error", () => undefined); // it ended early; the exit code tells
  child.stdin.end(watcher === undefined ? input : `${GO}${input}`);

  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  signal?.throwIfAborted();
  if (child.exitCode === 0) return stdout;
  const complaint = stderr.trim().split("\n").slice(-3).join(" ");
  throw new Error(complaint || `${file} ended with ${child.exitCode ?? child.signalCode}`);
}

/** @returns stops listening */
function stopWhenAborted(child: ChildProcess, signal: AbortSignal): () => void {
  let force: NodeJS.Timeout | undefined;
  const stop = () => {
    child.kill("SIGTERM");
    force = setTimeout(() => killGroup(child), POLITE_S * 1_000);
  };
  signal.addEventListener("abort", stop, { once: true });
  return () => {
    signal.removeEventListener("abort", stop);
    clearTimeout(force);
  };
}

function killGroup({ pid, exitCode, signalCode }: ChildProcess): void {
  if (pid === undefined || exitCode !== null || signalCode !== null) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}
