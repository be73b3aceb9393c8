/** Starts a publisher process and tells it when to go. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

export interface Publisher {
  /** Resolves when everything is confirmed. */
  go(): Promise<void>;
}

const PROGRAM = fileURLToPath(new URL("./publisher.ts", import.meta.url));

export async function publisher(
  url: string,
  exchange: string,
  count: number,
  run: string,
): Promise<Publisher> {
  const child = spawn(process.execPath, [PROGRAM, url, exchange, String(count), run], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  await Promise.race([once(child.stdout, "data"), ended]);
  return {
    go: async () => {
      child.stdin.write("go\n");
      const [code] = (await ended) as [number | null];
      if (code !== 0) throw new Error(`the publisher ended with ${code}`);
    },
  };
}
