import { execFile } from "node:child_process";
import type { Account } from "./account.ts";

/** Nothing of this process's environment reaches the server: it may hold secrets. */
export function serverEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env["PATH"], LC_ALL: "C", TZ: "UTC" };
}

export function identityOf(account: Account | undefined): { uid?: number; gid?: number } {
  return account === undefined ? {} : { uid: account.uid, gid: account.gid };
}

export interface RunOptions {
  readonly account: Account | undefined;
  readonly input?: string;
  readonly signal?: AbortSignal | undefined;
}

/** @returns what it printed; an exit code other than 0 rejects with the end of what it complained */
export function runToEnd(file: string, args: readonly string[], options: RunOptions): Promise<string> {
  const { account, input, signal } = options;
  return new Promise((resolve, reject) => {
    const settings = { cwd: "/", env: serverEnvironment(), signal, ...identityOf(account) };
    const child = execFile(file, args, settings, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const complaint = stderr.trim().split("\n").slice(-3).join(" ");
      reject(new Error(complaint || error.message, { cause: error }));
    });
    child.stdin?.on("error", () => undefined); // it ended early; the exit code tells
    child.stdin?.end(input);
  });
}
