/**
 * Work that may take longer than the bus waits for a handler.
 *
 * The handler of a queue must answer for its batch soon, or everything behind it waits: other identities and
 * other conversations. So the work of each delivery is a job that runs independently. The handler waits for a
 * short time. A job that has not ended by then is answered with `retry`, which delays only that delivery's
 * own lane. When the bus delivers it again, the same job is asked for its verdict. The delivery is settled
 * only when its job has ended.
 *
 * Ended jobs are remembered for a while: a delivery that the bus repeats gets the same verdict, not a second
 * run.
 */
import type { Delivery, Prepared, Verdict } from "@linkspan/fabric";
import { backoffMs } from "@linkspan/time";
import type { Logger } from "pino";
import { type Clock, pause } from "../shared/clock.ts";

export interface JobsOptions {
  readonly clock: Clock;
  /** Aborted when the term ends; jobs must end with it. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** How long a handler waits for its batch, milliseconds. Default 50. */
  readonly patienceMs?: number;
  /** Ended jobs remembered. Default 4,096. */
  readonly remembered?: number;
}

/** The work of one delivery. `key` is equal for repeated deliveries of the same message. */
export interface Work {
  readonly key: string;
  /** Rejects when the work was not done; the bus then delivers it again. */
  readonly run: () => Promise<Verdict>;
}

interface Job {
  readonly startedMs: number;
  readonly ended: Promise<void>;
  verdict: Verdict | undefined;
  error: unknown;
}

export class Jobs {
  readonly #options: Required<JobsOptions>;
  readonly #jobs = new Map<string, Job>();
  #running = 0;

  constructor(options: JobsOptions) {
    this.#options = { patienceMs: 50, remembered: 4_096, ...options };
  }

  get running(): number {
    return this.#running;
  }

  /**
   * Verdicts for one batch, in order. Lanes run concurrently; within a lane a delivery starts only when the
   * one before it has been settled.
   */
  async verdicts<P>(
    batch: readonly Prepared<P>[],
    laneOf: (delivery: Prepared<P>) => string,
    workOf: (delivery: Prepared<P>) => Work | Verdict,
  ): Promise<Verdict[]> {
    const { clock, signal, patienceMs } = this.#options;
    const over = new AbortController();
    const patience = pause(clock, patienceMs, AbortSignal.any([signal, over.signal]));
    const lanes = Map.groupBy(batch.keys(), (index) => laneOf(batch[index] as Prepared<P>));
    const verdicts: Verdict[] = batch.map(() => BEHIND);
    const run = async (indices: readonly number[]) => {
      for (const index of indices) {
        const prepared = batch[index] as Prepared<P>;
        const work = workOf(prepared);
        const verdict = "do" in work ? work : await this.#verdictOf(work, prepared.delivery, patience);
        verdicts[index] = verdict;
        if (verdict.do === "retry") return;
      }
    };
    await Promise.all([...lanes.values()].map(run));
    over.abort();
    signal.throwIfAborted();
    return verdicts;
  }

  /** Resolves when no job is running. */
  async idle(): Promise<void> {
    while (this.#running > 0) {
      await Promise.all([...this.#jobs.values()].filter(isRunning).map(({ ended }) => ended));
    }
  }

  async #verdictOf(work: Work, delivery: Delivery, patience: Promise<void>): Promise<Verdict> {
    const job = this.#jobs.get(work.key) ?? this.#start(work);
    await Promise.race([job.ended, patience]);
    if (isRunning(job)) return this.#stillRunning(job);
    if (job.verdict === undefined || job.verdict.do === "retry") this.#jobs.delete(work.key);
    return job.verdict ?? { do: "retry", afterMs: backoffMs({ minMs: 100, maxMs: 5_000 }, delivery.attempt) };
  }

  /** A young job is checked again soon: its end is noticed at most a quarter of its running time late. */
  #stillRunning(job: Job): Verdict {
    const ageMs = this.#options.clock.monotonicMs() - job.startedMs;
    return { do: "retry", afterMs: Math.min(Math.max(ageMs / 4, 5), 500) };
  }

  #start(work: Work): Job {
    this.#forget();
    this.#running += 1;
    const job: Job = {
      startedMs: this.#options.clock.monotonicMs(),
      verdict: undefined,
      error: undefined,
      ended: work
        .run()
        .then(
          (verdict) => {
            job.verdict = verdict;
          },
          (error: unknown) => {
            job.error = error ?? new Error("a job failed without a reason");
            if (!this.#options.signal.aborted) this.#options.log.warn({ event: "job.failed", err: error });
          },
        )
        .finally(() => {
          this.#running -= 1;
        }),
    };
    this.#jobs.set(work.key, job);
    return job;
  }

  #forget(): void {
    if (this.#jobs.size < this.#options.remembered) return;
    for (const [key, job] of this.#jobs) {
      if (isRunning(job)) continue;
      this.#jobs.delete(key);
      return;
    }
  }
}

function isRunning(job: Job): boolean {
  return job.verdict === undefined && job.error === undefined;
}

/** It starts when the delivery before it in its lane is settled. */
const BEHIND: Verdict = { do: "retry", afterMs: 1 };
