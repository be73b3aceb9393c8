import type pg from "pg";
import { postgresBackend, redisBackend } from "./backend.ts";
import { BullJobs, type BullOptions } from "./bull-jobs.ts";
import type { Jobs } from "./jobs.ts";
import type { JobsLog } from "./log.ts";

export interface JobsOptions {
  /** Both schemes of PostgreSQL, or those of Redis. */
  readonly url: string;
  readonly log: JobsLog;
  /** Processes with the same name share their jobs, default `linkspan`. */
  readonly queue?: string;
  /** Runs at once in this process, default 8. */
  readonly concurrency?: number;
  /**
   * How long the work of a process that died stays with it, default 30 s; it is given to another one within
   * three times this.
   */
  readonly lockMs?: number;
  /** Class of the connections to PostgreSQL, default the driver's own. */
  readonly postgresClient?: typeof pg.Client;
}

/**
 * On PostgreSQL they lie in a schema of their own, `jobs`, made if missing; on Redis below `bull:`.
 *
 * @throws FabricError `store.unavailable`
 */
export async function openJobs(options: JobsOptions): Promise<Jobs> {
  const { url, log, queue = "linkspan", concurrency = 8, lockMs = 30_000 } = options;
  const settings: BullOptions = { log, queue, concurrency, lockMs };
  if (/^rediss?:/.test(url)) return BullJobs.open(redisBackend(url), settings);
  if (/^postgres(ql)?:/.test(url))
    return BullJobs.open(await postgresBackend(url, options.postgresClient), settings);
  throw new TypeError("jobs need a postgres:, postgresql:, redis: or rediss: URL");
}
