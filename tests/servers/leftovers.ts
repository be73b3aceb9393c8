import { existsSync } from "node:fs";
import { isAlive, treeOf } from "./process-tree.ts";
import type { Server } from "./server.ts";

/** Disposes a running server. @returns what is left of it: living process ids and its directory */
export async function leftoversOf(server: Server): Promise<(number | string)[]> {
  const { directory } = server;
  const tree = treeOf(server.pid);
  await server[Symbol.asyncDispose]();
  return [...tree.filter(isAlive), ...(existsSync(directory) ? [directory] : [])];
}
