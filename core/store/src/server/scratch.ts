/** For the tests of this directory: a data directory of their own and a log that can be read. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ServerEvent, ServerLog } from "./log.ts";

export interface Scratch extends AsyncDisposable {
  readonly dataDir: string;
  /** Where PostgreSQL's files come to lie. */
  readonly cluster: string;
  readonly log: ServerLog;
  readonly events: readonly ServerEvent[];
}

export async function scratch(): Promise<Scratch> {
  const dataDir = await mkdtemp(join(tmpdir(), "linkspan-server-"));
  const events: ServerEvent[] = [];
  const keep = (event: ServerEvent) => void events.push(event);
  return {
    dataDir,
    cluster: join(dataDir, "postgres", "cluster"),
    log: { debug: keep, info: keep, warn: keep, error: keep },
    events,
    [Symbol.asyncDispose]: () => rm(dataDir, { recursive: true, force: true }),
  };
}
