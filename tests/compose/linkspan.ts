/** The command as people run it: `compose/bin/linkspan` in a process of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { boundToParent } from "../servers/account.ts";
import { reservePort } from "../servers/port.ts";
import { isAlive, killTree, treeOf } from "../servers/process-tree.ts";
import { until } from "../servers/until.ts";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const COMMAND = join(ROOT, "compose/bin/linkspan");

export type Env = Readonly<Record<string, string>>;

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Lines of standard output. */
  readonly lines: readonly string[];
}

/** Runs it to its end. Nothing of this process's own LINKSPAN_ variables reaches it. */
export async function linkspan(
  args: readonly string[],
  { env = {}, input = "" }: { readonly env?: Env; readonly input?: string | Uint8Array } = {},
): Promise<Ended> {
  const child = spawn(COMMAND, args, { env: { ...ownEnvironment(), ...env } });
  child.stdin.on("error", () => undefined); // it may end before it has read everything
  child.stdin.end(input);
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  return { code: child.exitCode, stdout, stderr, lines: stdout.split("\n").slice(0, -1) };
}

/** As above, and it must succeed. @returns each line of its `--json` output */
export async function answers<T>(args: readonly string[], env: Env): Promise<T[]> {
  const ended = await linkspan(["--json", ...args], { env });
  if (ended.code !== 0)
    throw new Error(`linkspan ${args.join(" ")} ended with ${ended.code}: ${ended.stderr}`);
  return ended.lines.map((line) => JSON.parse(line) as T);
}

function ownEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("LINKSPAN_")));
}

/** A running `linkspan up`. */
export class Up implements AsyncDisposable {
  readonly child: ChildProcess;
  /** Milliseconds from the start to the line. */
  readonly readyAfterMs: number;
  /** The one line that it printed. */
  readonly line: string;
  /** For commands beside it. */
  readonly env: Env;
  readonly #output: { out: string; log: string };

  private constructor(
    child: ChildProcess,
    env: Env,
    output: { out: string; log: string },
    readyAfterMs: number,
  ) {
    this.child = child;
    this.env = env;
    this.#output = output;
    this.line = output.out.trim();
    this.readyAfterMs = readyAfterMs;
  }

  /** Resolves when it is ready. */
  static async start(env: Env, args: readonly string[] = []): Promise<Up> {
    const begun = performance.now();
    const [program, ...rest] = boundToParent([COMMAND, "up", ...args]);
    const child = spawn(program, rest, { env: { ...ownEnvironment(), ...env } });
    const output = { out: "", log: "" };
    child.stdout.on("data", (chunk: Buffer) => (output.out += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (output.log += chunk.toString()));
    await until(
      () => {
        if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}:\n${output.log}`);
        return output.out.endsWith("\n");
      },
      { what: "the ready line" },
    );
    return new Up(child, env, output, performance.now() - begun);
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get url(): string {
    return this.line.replace(/^ready /, "");
  }

  /** Everything on standard output so far. */
  get stdout(): string {
    return this.#output.out;
  }

  get log(): string {
    return this.#output.log;
  }

  /** Sends the signal and waits for its end. @returns exit code or signal, and what of its tree is left alive */
  async end(
    signal: NodeJS.Signals,
  ): Promise<{ readonly code: number | string | null; readonly left: number[] }> {
    const tree = treeOf(this.pid);
    const ended = once(this.child, "close");
    this.child.kill(signal);
    await ended;
    return { code: this.child.exitCode ?? this.child.signalCode, left: tree.filter(isAlive) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) await killTree(this.pid);
  }
}

/** An empty data directory and a free port. */
export async function place(): Promise<AsyncDisposable & { readonly env: Env; readonly data: string }> {
  const data = mkdtempSync(join(tmpdir(), "linkspan-compose-"));
  const port = await reservePort();
  return {
    data,
    env: { LINKSPAN_DATA: data, LINKSPAN_PORT: String(port.number), LINKSPAN_LOG_LEVEL: "warn" },
    async [Symbol.asyncDispose]() {
      port.release();
      rmSync(data, { recursive: true, force: true });
    },
  };
}

/** Memory of a process tree, each shared page counted once, MiB. */
export function pssMib(root: number): number {
  const kib = treeOf(root).map((pid) => {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "latin1");
    return Number(/^Pss:\s+(\d+) kB$/m.exec(rollup)?.[1]);
  });
  return kib.reduce((sum, one) => sum + one, 0) / 1_024;
}
