/** Starts a process that publishes or posts, and tells it when to go. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

export interface Publisher {
  /** Resolves when everything is confirmed or answered. */
  go(): Promise<void>;
}

export function publisher(url: string, exchange: string, count: number, run: string): Promise<Publisher> {
  return started("publisher", [url, exchange, String(count), run]);
}

export interface Posting {
  readonly url: string;
  readonly token: string;
  readonly count: number;
  readonly run: string;
  /** Requests at the same time. */
  readonly callers: number;
  /** Intents of one request. */
  readonly members: number;
}

export function poster({ url, token, count, run, callers, members }: Posting): Promise<Publisher> {
  return started("poster", [url, token, `${count}`, run, `${callers}`, `${members}`]);
}

async function started(name: string, args: readonly string[]): Promise<Publisher> {
  const program = fileURLToPath(new URL(`./${name}.ts`, import.meta.url));
  const child = spawn(process.execPath, [program, ...args], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(child, "exit");
  await Promise.race([once(child.stdout, "data"), ended]);
  return {
    go: async () => {
      child.stdin.write("go\n");
      const [code] = (await ended) as [number | null];
      if (code !== 0) throw new Error(`the ${name} ended with ${code}`);
    },
  };
}
