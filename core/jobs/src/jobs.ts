/**
 * Timed and repeated work.
 *
 * A job is only a wake-up. The rows of the store say what is due and when, and a repeated job checks those
 * rows. So a job that is lost, late, repeated or deduplicated costs time, but no work is lost. A handler
 * therefore reads the rows first, and running it again changes nothing.
 */
import type { z } from "zod";

export interface Backoff {
  /** `exponential` doubles `delayMs` with each attempt. */
  readonly type: "fixed" | "exponential";
  readonly delayMs: number;
  /** Share of the delay that is random, 0 to 1, default 0. */
  readonly jitter?: number;
}

export interface JobDefinition<Payload> {
  readonly name: string;
  readonly schema: z.ZodType<Payload>;
  /** Number of attempts in total. */
  readonly attempts: number;
  readonly backoff: Backoff;
}

export interface EnqueueOptions {
  /** Delay before the first run, milliseconds, default 0. */
  readonly delayMs?: number;
  /**
   * While a job with this key waits, another one is not added, and the time of the first one stays. While one
   * runs, one more is kept, with the latest payload, and runs after it.
   */
  readonly dedupKey?: string;
  /** Default: the definition's. */
  readonly attempts?: number;
  /** Default: the definition's. */
  readonly backoff?: Backoff;
}

export type Schedule =
  | { readonly everyMs: number }
  /** Five or six fields; `timeZone` is an IANA name, default UTC. */
  | { readonly cron: string; readonly timeZone?: string };

export interface JobContext {
  readonly id: string;
  /** Starts at 1. A run that was taken over from a process that died is not counted again. */
  readonly attempt: number;
  /** Aborted when this `Jobs` object is being closed. */
  readonly signal: AbortSignal;
}

/**
 * A handler that rejects is run again, with backoff, while attempts are left. A FabricError whose code says
 * `never` ends the job at once; one that says `after` runs the job again at that time and costs no attempt.
 */
export type JobHandler<Payload> = (payload: Payload, context: JobContext) => Promise<void>;

export interface Jobs extends AsyncDisposable {
  /**
   * Resolves once the job is stored.
   *
   * @throws FabricError `store.unavailable`; `internal` when the payload does not fit the schema
   */
  enqueue<Payload>(job: JobDefinition<Payload>, payload: Payload, options?: EnqueueOptions): Promise<void>;

  /**
   * Runs the job repeatedly: with `everyMs` at once and then at that interval, with `cron` from the next
   * match on. A call with the same key replaces schedule and payload, so each process may make it when it
   * starts. Runs that came due while no process worked are made up for by one run. A process keeps its schedules in
   * place while it runs: they are made again when the storage has lost them.
   *
   * @param options `key` distinguishes schedules of one job, default one per job
   * @throws FabricError `store.unavailable`; `internal` when the payload does not fit the schema
   */
  repeat<Payload>(
    job: JobDefinition<Payload>,
    payload: Payload,
    schedule: Schedule,
    options?: { readonly key?: string },
  ): Promise<void>;

  /**
   * Ends a schedule; one that does not exist is not an error. Every process that made it must end it.
   *
   * @throws FabricError `store.unavailable`
   */
  cancelRepeat(job: { readonly name: string }, options?: { readonly key?: string }): Promise<void>;

  /**
   * Registers the handler; one per job and process. All processes of a queue should handle the same jobs: a
   * process that takes a job without a handler puts it back for a second. A job of a process that died before
   * it finished is given to another process when its lock expires.
   *
   * @returns disposing stops taking this job and waits for the runs in progress
   * @throws FabricError `store.unavailable`; `internal` when this job already has a handler
   */
  work<Payload>(job: JobDefinition<Payload>, handle: JobHandler<Payload>): Promise<AsyncDisposable>;

  /** Takes no more jobs and waits for the running ones; `enqueue` still works. */
  drain(): Promise<void>;
}

/** @param name lower case, digits, `.`, `-`; unique in the product */
export function defineJob<Payload>(
  name: string,
  schema: z.ZodType<Payload>,
  options: { readonly attempts?: number; readonly backoff?: Backoff } = {},
): JobDefinition<Payload> {
  if (!/^[a-z0-9.-]{1,64}$/.test(name)) throw new TypeError(`not a job name: ${name}`);
  const backoff = options.backoff ?? { type: "exponential", delayMs: 1_000, jitter: 0.5 };
  return { name, schema, attempts: options.attempts ?? 5, backoff };
}
