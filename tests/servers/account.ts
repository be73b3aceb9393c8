/**
 * Some servers refuse root. When the tests run as root, each server gets the account its package made;
 * otherwise everything runs as whoever runs the tests.
 */
import { execFileSync } from "node:child_process";
import { chownSync, mkdtempSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const isRoot = process.getuid?.() === 0;

function idOf(account: string, flag: "-u" | "-g"): number {
  return Number(execFileSync("id", [flag, account], { encoding: "utf8" }));
}

/** A new directory that belongs to `account`; nobody else may read it, root excepted. */
export function directoryFor(account: string, name: string): string {
  const directory = mkdtempSync(join(tmpdir(), `linkspan-${name}-`));
  if (isRoot) chownSync(directory, idOf(account, "-u"), idOf(account, "-g"));
  return directory;
}

/** Gives `account` what this process wrote into the directory. */
export function giveTo(account: string, directory: string): void {
  if (!isRoot) return;
  const [uid, gid] = [idOf(account, "-u"), idOf(account, "-g")];
  for (const entry of readdirSync(directory, { recursive: true, encoding: "utf8" })) {
    chownSync(join(directory, entry), uid, gid);
  }
}

/** The command line that runs `command` and kills it when the process that started it ends. */
export function boundToParent(command: readonly [string, ...string[]]): [string, ...string[]] {
  if (process.platform !== "linux") return [...command];
  return ["setpriv", "--pdeathsig", "KILL", "--", ...command];
}

/** The command line that runs `command` as `account`. */
export function runAs(account: string, command: readonly string[]): [string, ...string[]] {
  const options = isRoot ? ["--reuid", account, "--regid", String(idOf(account, "-g")), "--init-groups"] : [];
  return ["setpriv", ...options, "--", ...command];
}
