/** An example as a reader runs it: a process of its own that has only its environment and its arguments. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { ROOT } from "../compose/linkspan.ts";
import { boundToParent } from "../servers/account.ts";
import { killTree } from "../servers/process-tree.ts";
import { until } from "../servers/until.ts";

export class Program implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  stdout = "";
  stderr = "";

  constructor(command: readonly [string, ...string[]], env: Readonly<Record<string, string>>) {
    const [program, ...args] = boundToParent(command);
    const child = spawn(program, args, { cwd: join(ROOT, "examples"), env: { ...process.env, ...env } });
    this.#child = child;
    this.#closed = once(child, "close");
    child.stdout.on("data", (chunk: Buffer) => (this.stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (this.stderr += chunk.toString()));
  }

  /** Waits until it has printed `text`, a log line counts too; fails at once when it ended before. */
  async prints(text: string): Promise<void> {
    const check = (): boolean => {
      if (this.stdout.includes(text) || this.stderr.includes(text)) return true;
      if (this.#child.exitCode !== null) throw new Error(`it ended without "${text}":\n${this.stderr}`);
      return false;
    };
    await until(check, { what: `"${text}"` });
  }

  /** Waits for its end. @returns its exit code */
  async ended(): Promise<number | null> {
    await this.#closed;
    return this.#child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    await killTree(this.#child.pid ?? 0);
    await this.#closed;
  }
}
