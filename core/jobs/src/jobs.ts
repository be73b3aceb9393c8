/**
 * Timed and repeated work.
 *
 * A job is a wake-up and nothing more. What is due, and when, stands in a row of the store, and a repeated
 * job sweeps those rows: a job that is lost, comes late, comes twice or is deduplicated away costs time,
 * never work. So a handler looks at the rows first, and doing it again changes nothing.
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
  /** Tries in all. */
  readonly attempts: number;
  readonly backoff: Backoff;
}

export interface EnqueueOptions {
  /** Not before this many milliseconds, default 0. */
  readonly delayMs?: number;
  /**
   * While a job with this key waits, another is not added: the time of the first stands. While one runs,
   * one more is kept, with the latest payload, and follows it.
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
  /** From 1. One that was taken from a process that died is not counted again. */
  readonly attempt: number;
  /** Aborted when these jobs are being closed. */
  readonly signal: AbortSignal;
}

/**
 * Rejecting means: again, with backoff, while attempts are left. A FabricError whose code says `never` ends
 * it at once; one that says `after` brings it back at that time and costs no attempt.
 */
export type JobHandler<Payload> = (payload: Payload, context: JobContext) => Promise<void>;

export interface Jobs extends AsyncDisposable {
  /**
   * Resolves once it is stored.
   *
   * @throws FabricError `store.unavailable`; `internal` when the payload does not fit the schema
   */
  enqueue<Payload>(job: JobDefinition<Payload>, payload: Payload, options?: EnqueueOptions): Promise<void>;

  /**
   * Runs it again and again: with `everyMs` now and then in that step, with `cron` from the next match on.
   * The same key replaces schedule and payload; each process may say it on its start. A run that comes due
   * while nobody works is made up for once, not as often as it was missed.
   *
   * @param options `key` tells schedules of one job apart, default one per job
   * @throws FabricError `store.unavailable`; `internal` when the payload does not fit the schema
   */
  repeat<Payload>(
    job: JobDefinition<Payload>,
    payload: Payload,
    schedule: Schedule,
    options?: { readonly key?: string },
  ): Promise<void>;

  /** Ends a schedule; one that does not exist is not an error. @throws FabricError `store.unavailable` */
  cancelRepeat(job: { readonly name: string }, options?: { readonly key?: string }): Promise<void>;

  /**
   * One handler per job and process. All processes of a queue should work on the same jobs: one that takes a
   * job it has no handler for puts it back for a second. Work that a process takes and does not finish, because it died, is
   * given to another one when its lock runs out.
   *
   * @returns disposing stops taking this job and waits for the runs in flight
   * @throws FabricError `store.unavailable`; `internal` when this job already has a handler
   */
  work<Payload>(job: JobDefinition<Payload>, handle: JobHandler<Payload>): Promise<AsyncDisposable>;

  /** Takes no more jobs and waits for those in flight; enqueueing still works. */
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
