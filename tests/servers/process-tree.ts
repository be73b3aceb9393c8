/** Reads /proc to find and end a whole process tree: a killed PostgreSQL or Erlang leaves children behind for a moment. */
import { readdirSync, readFileSync } from "node:fs";
import { until } from "./until.ts";

interface Entry {
  readonly pid: number;
  readonly parent: number;
  readonly state: string;
}

function read(pid: number): Entry | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const [state = "", parent = "0"] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { pid, parent: Number(parent), state };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
}

/** The process and all its descendants. */
export function treeOf(root: number): number[] {
  const entries = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => read(Number(name)))
    .filter((entry) => entry !== undefined);
  const tree = [root];
  for (const pid of tree) {
    for (const entry of entries) if (entry.parent === pid) tree.push(entry.pid);
  }
  return tree;
}

/** False as soon as it is dead, even if nobody has collected it. */
export function isAlive(pid: number): boolean {
  const entry = read(pid);
  return entry !== undefined && entry.state !== "Z" && entry.state !== "X";
}

export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** SIGKILL to the process first, then to its descendants; resolves when all are dead. */
export async function killTree(root: number): Promise<void> {
  const tree = treeOf(root);
  for (const pid of tree) signal(pid, "SIGKILL");
  await until(() => !tree.some(isAlive), { what: `processes ${tree.join(", ")} to end`, timeoutMs: 10_000 });
}
