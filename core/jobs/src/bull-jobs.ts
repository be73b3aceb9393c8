/**
 * Jobs on BullMQ. All jobs share one queue, so that a process holds one worker and one listening connection,
 * however many jobs there are. A job that this process has no handler for is put back for a moment, so that a
 * process with a handler can take it.
 */
import { FabricError } from "@linkspan/envelopes";
import { within } from "@linkspan/time";
import { DelayedError, type IQueueBackend, type Job, Queue, WaitingError, Worker } from "bullmq";
import { type Backend, LONGEST_SLEEP_SECONDS, RETRY_MS } from "./backend.ts";
import { failureOf, nameOf, storedFailure, unavailable } from "./failures.ts";
import type { EnqueueOptions, JobContext, JobDefinition, JobHandler, Jobs, Schedule } from "./jobs.ts";
import type { JobsLog } from "./log.ts";
import { Schedules } from "./schedules.ts";
import { checked, retryOptions, schedulerId } from "./stored.ts";

export interface BullOptions {
  readonly log: JobsLog;
  readonly queue: string;
  readonly concurrency: number;
  readonly lockMs: number;
  readonly lookMs: number;
}

interface Work {
  readonly run: (payload: unknown, context: JobContext) => Promise<void>;
  readonly inFlight: Set<Promise<void>>;
}

const UNHANDLED_AGAIN_MS = 1_000;
/**
 * Processes wake up for a delayed job at the same millisecond, and then the same one may take it each time. A process
 * that gets one again makes it waiting at once, and takes no job for this long.
 */
const HAND_ON_MS = 250;
const READY_WITHIN_MS = 10_000;
/** How long the server may take to close our connections once no job runs here. */
const GOODBYE_MS = 5_000;
const LOG_ERRORS_EVERY_MS = 10_000;
/** Large, so that a job is not given up because processes died while they ran it. */
const MAX_STALLS = 100;

export class BullJobs<B extends IQueueBackend, Connection> implements Jobs {
  readonly #backend: Backend<B, Connection>;
  readonly #options: BullOptions;
  readonly #queue: Queue<unknown, void, string, unknown, void, string, B, Connection>;
  readonly #handlers = new Map<string, Work>();
  readonly #closing = new AbortController();
  readonly #schedules: Schedules;
  /** Runs of every handler, also of handlers that were removed. */
  readonly #running = new Set<Promise<void>>();
  #worker: Promise<Worker<unknown, void, string, B, never, Connection>> | undefined;
  /** The job that last found no handler here. */
  #putOff: string | undefined;
  #loggedAt = Number.NEGATIVE_INFINITY;
  #closed: Promise<void> | undefined;

  private constructor(backend: Backend<B, Connection>, options: BullOptions) {
    this.#backend = backend;
    this.#options = options;
    this.#queue = new Queue(options.queue, { connection: backend.producer }, backend.factory);
    this.#queue.on("error", (error) => this.#report(error));
    this.#schedules = new Schedules({
      storage: this.#queue,
      log: options.log,
      lookMs: options.lookMs,
      onError: (error) => this.#report(error),
    });
  }

  /** @throws FabricError `store.unavailable` when the backend does not answer within ten seconds */
  static async open<B extends IQueueBackend, Connection>(
    backend: Backend<B, Connection>,
    options: BullOptions,
  ): Promise<BullJobs<B, Connection>> {
    const jobs = new BullJobs(backend, options);
    try {
      await ready(jobs.#queue.waitUntilReady());
      return jobs;
    } catch (error) {
      await jobs.#queue.disconnect();
      throw error;
    }
  }

  async enqueue<Payload>(
    job: JobDefinition<Payload>,
    payload: Payload,
    options: EnqueueOptions = {},
  ): Promise<void> {
    const data = checked(job, payload);
    const { delayMs = 0, dedupKey, attempts = job.attempts, backoff = job.backoff } = options;
    const deduplication =
      dedupKey === undefined
        ? {}
        : { deduplication: { id: `${job.name}/${dedupKey}`, keepLastIfActive: true } };
    await this.#ask(() =>
      this.#queue.add(job.name, data, {
        ...retryOptions(attempts, backoff),
        ...deduplication,
        delay: delayMs,
      }),
    );
  }

  async repeat<Payload>(
    job: JobDefinition<Payload>,
    payload: Payload,
    schedule: Schedule,
    options: { readonly key?: string } = {},
  ): Promise<void> {
    const data = checked(job, payload);
    const when =
      "everyMs" in schedule
        ? { every: schedule.everyMs }
        : { pattern: schedule.cron, tz: schedule.timeZone ?? "UTC" };
    const id = schedulerId(job, options.key);
    const template = { name: job.name, data, opts: retryOptions(job.attempts, job.backoff) };
    await this.#ask(() => this.#schedules.make({ id, when, template }));
  }

  async cancelRepeat(job: { readonly name: string }, options: { readonly key?: string } = {}): Promise<void> {
    await this.#ask(() => this.#schedules.end(schedulerId(job, options.key)));
  }

  async work<Payload>(job: JobDefinition<Payload>, handle: JobHandler<Payload>): Promise<AsyncDisposable> {
    if (this.#handlers.has(job.name)) {
      throw new FabricError("internal", `job ${job.name} already has a handler in this process`);
    }
    const work: Work = {
      run: async (data, context) => handle(checked(job, data), context),
      inFlight: new Set(),
    };
    this.#handlers.set(job.name, work);
    try {
      this.#worker ??= this.#startWorker();
      const worker = await this.#worker;
      if (worker.isPaused()) await worker.resume();
    } catch (error) {
      this.#handlers.delete(job.name);
      this.#worker = undefined;
      throw error;
    }
    return {
      [Symbol.asyncDispose]: async () => {
        this.#handlers.delete(job.name);
        await Promise.allSettled(work.inFlight);
        if (this.#handlers.size === 0) await this.drain();
      },
    };
  }

  async drain(): Promise<void> {
    const worker = await this.#worker?.catch(() => undefined);
    if (worker === undefined || (await this.#ended(worker.pause()))) return;
    // The worker's connection does not recover from this; the next work starts a new worker.
    this.#worker = undefined;
    worker.close(true).catch((error: unknown) => this.#report(error));
    this.#abandon(worker);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close();
    await this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    this.#schedules.close();
    const worker = await this.#worker?.catch(() => undefined);
    for (const one of [worker, this.#queue]) {
      if (one === undefined) continue;
      await this.#ended(one.close());
      // Closing fails while the server is unreachable, and leaves connections that keep reconnecting.
      await this.#ended(one.disconnect());
    }
  }

  /**
   * BullMQ waits for its server without a limit when it closes or pauses. This waits for running jobs without
   * a limit, and for the server only for a short time.
   *
   * @returns whether it ended by itself
   */
  async #ended(ending: Promise<unknown>): Promise<boolean> {
    const ended = ending.catch((error: unknown) => this.#report(error));
    for (;;) {
      await Promise.race([ended, Promise.allSettled(this.#running)]);
      const isEnded = await within(GOODBYE_MS, ended);
      if (isEnded || this.#running.size === 0) return isEnded;
    }
  }

  /** Drops its connections, so that none of them reconnects. */
  #abandon(one: { disconnect(): Promise<void> }): void {
    one.disconnect().catch((error: unknown) => this.#report(error));
  }

  async #startWorker(): Promise<Worker<unknown, void, string, B, never, Connection>> {
    const { queue, concurrency, lockMs } = this.#options;
    const worker: Worker<unknown, void, string, B, never, Connection> = new Worker(
      queue,
      (job, token) => this.#process(job, token),
      {
        connection: this.#backend.consumer,
        autorun: false,
        concurrency,
        drainDelay: LONGEST_SLEEP_SECONDS,
        lockDuration: lockMs,
        stalledInterval: lockMs,
        maxStalledCount: MAX_STALLS,
        runRetryDelay: RETRY_MS,
      },
      this.#backend.factory,
    );
    worker.on("error", (error) => this.#report(error));
    try {
      await ready(worker.waitUntilReady());
    } catch (error) {
      await worker.close(true);
      throw error;
    }
    worker.run().catch((error: unknown) => this.#report(error));
    return worker;
  }

  async #process(job: Job<unknown, void, string>, token: string | undefined): Promise<void> {
    const work = this.#handlers.get(job.name);
    if (work === undefined) return this.#passOn(job, token);
    const context = { id: job.id ?? "", attempt: job.attemptsMade + 1, signal: this.#closing.signal };
    const run = work.run(job.data, context);
    work.inFlight.add(run);
    this.#running.add(run);
    try {
      await run;
    } catch (error) {
      const failure = failureOf(error);
      const { outcome, code } = failure;
      this.#options.log.warn({
        event: "job.failed",
        job: job.name,
        id: context.id,
        attempt: context.attempt,
        of: job.opts.attempts,
        outcome,
        code,
      });
      if (failure.outcome === "later") return await putOff(job, token, failure.afterMs);
      throw storedFailure(failure);
    } finally {
      work.inFlight.delete(run);
      this.#running.delete(run);
    }
  }

  /** Puts back a job that has no handler here. @throws DelayedError, WaitingError: what BullMQ expects */
  async #passOn(job: Job<unknown, void, string>, token: string | undefined): Promise<never> {
    if (this.#putOff !== job.id) {
      this.#putOff = job.id;
      return putOff(job, token, UNHANDLED_AGAIN_MS);
    }
    this.#putOff = undefined; // Else a job that nobody handles would keep this process from the others.
    this.#backend.takePause.begin(HAND_ON_MS);
    await job.moveToWait(token);
    throw new WaitingError();
  }

  async #ask(request: () => Promise<unknown>): Promise<void> {
    if (this.#closing.signal.aborted) throw new FabricError("store.unavailable", "the job queue is closed");
    try {
      await request();
    } catch (cause) {
      throw unavailable(cause);
    }
  }

  /** Connections reconnect by themselves; one log line in ten seconds reports that they are lost. */
  #report(error: unknown): void {
    const now = performance.now();
    if (now - this.#loggedAt < LOG_ERRORS_EVERY_MS) return;
    this.#loggedAt = now;
    this.#options.log.warn({ event: "jobs.backend_error", code: nameOf(error) });
  }
}

/** Puts the job back into the queue without counting an attempt. */
async function putOff(
  job: Job<unknown, void, string>,
  token: string | undefined,
  ms: number,
): Promise<never> {
  await job.moveToDelayed(Date.now() + ms, token);
  throw new DelayedError();
}

async function ready(waiting: Promise<unknown>): Promise<void> {
  try {
    if (await within(READY_WITHIN_MS, waiting)) return;
  } catch (error) {
    throw error instanceof FabricError ? error : unavailable(error);
  }
  throw unavailable(new Error("timed out"));
}
