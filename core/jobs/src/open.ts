import type pg from "pg";
import { postgresBackend, redisBackend } from "./backend.ts";
import { BullJobs, type BullOptions } from "./bull-jobs.ts";
import type { Jobs } from "./jobs.ts";
import type { JobsLog } from "./log.ts";

export interface JobsOptions {
  /** A URL with one of the schemes of PostgreSQL or Redis. */
  readonly url: string;
  readonly log: JobsLog;
  /** Processes with the same name share their jobs, default `linkspan`. */
  readonly queue?: string;
  /** How many jobs run at the same time in this process, default 8. */
  readonly concurrency?: number;
  /**
   * How long a job stays locked by a process that died, default 30 s. Another process gets the job within
   * three times this time.
   */
  readonly lockMs?: number;
  /** How often schedules are compared with the clock and the storage, default 30 s. */
  readonly lookMs?: number;
  /** Class of the connections to PostgreSQL, default the driver's own. */
  readonly postgresClient?: typeof pg.Client;
}

/**
 * On PostgreSQL, jobs are kept in a schema of their own, `jobs`, which is created if it is missing; on Redis,
 * below `bull:`.
 *
 * @throws FabricError `store.unavailable`
 */
export async function openJobs(options: JobsOptions): Promise<Jobs> {
  const { url, log, queue = "linkspan", concurrency = 8, lockMs = 30_000, lookMs = 30_000 } = options;
  const settings: BullOptions = { log, queue, concurrency, lockMs, lookMs };
  if (/^rediss?:/.test(url)) return BullJobs.open(redisBackend(url), settings);
  if (/^postgres(ql)?:/.test(url))
    return BullJobs.open(await postgresBackend(url, options.postgresClient), settings);
  throw new TypeError("jobs need a postgres:, postgresql:, redis: or rediss: URL");
}
