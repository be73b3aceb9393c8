/**
 * Work that may take longer than the bus waits for a handler.
 *
 * The handler of a queue must answer for its batch soon, or everything behind it waits: other identities and
 * other conversations. So the work of each delivery is a job that runs independently, and the bus is told to wait
 * for its decision: meanwhile only that delivery's own lane waits.
 *
 * Ended jobs are remembered for a while: a delivery that the bus repeats gets the same decision, not a second
 * run. One that is repeated while its job runs gets the decision of that job.
 */
import type { Decision, Delivery, Prepared, Verdict } from "@linkspan/fabric";
import { backoffMs } from "@linkspan/time";
import type { Logger } from "pino";

export interface JobsOptions {
  /** Aborted when the term ends; jobs must end with it. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** Ended jobs remembered. Default 4,096. */
  readonly remembered?: number;
}

/** The work of one delivery. `key` is equal for repeated deliveries of the same message. */
export interface Work {
  readonly key: string;
  /** Rejects when the work was not done; the bus then delivers it again. */
  readonly run: () => Promise<Decision>;
}

interface Job {
  readonly ended: Promise<void>;
  isRunning: boolean;
  /** Undefined while it runs and when it failed. */
  decision: Decision | undefined;
}

export class Jobs {
  readonly #options: Required<JobsOptions>;
  readonly #jobs = new Map<string, Job>();
  #running = 0;

  constructor(options: JobsOptions) {
    this.#options = { remembered: 4_096, ...options };
  }

  get running(): number {
    return this.#running;
  }

  /**
   * Verdicts for one batch, in order. Lanes run concurrently; within a lane a delivery starts only when the
   * one before it has been settled.
   *
   * @throws the signal's reason when the term has ended: nothing is settled then
   */
  verdicts<P>(
    batch: readonly Prepared<P>[],
    laneOf: (delivery: Prepared<P>) => string,
    workOf: (delivery: Prepared<P>) => Work | Decision,
  ): Verdict[] {
    this.#options.signal.throwIfAborted();
    const waiting = new Set<string>();
    return batch.map((prepared) => {
      const lane = laneOf(prepared);
      if (waiting.has(lane)) return BEHIND;
      const work = workOf(prepared);
      const verdict = "do" in work ? work : this.#verdictOf(work, prepared.delivery);
      if (verdict.do === "retry" || verdict.do === "later") waiting.add(lane);
      return verdict;
    });
  }

  /** Resolves when no job is running. */
  async idle(): Promise<void> {
    while (this.#running > 0) {
      await Promise.all([...this.#jobs.values()].filter((job) => job.isRunning).map(({ ended }) => ended));
    }
  }

  #verdictOf(work: Work, delivery: Delivery): Verdict {
    const job = this.#jobs.get(work.key) ?? this.#start(work);
    if (!job.isRunning && job.decision !== undefined) return job.decision;
    return { do: "later", decision: job.ended.then(() => this.#decisionOf(work.key, job, delivery)) };
  }

  /** A job that is to be tried again is forgotten, so that it runs again; what ends with the term is left unsettled. */
  #decisionOf(key: string, job: Job, { attempt }: Delivery): Decision {
    const { signal } = this.#options;
    const { decision } = job;
    if (decision !== undefined && decision.do !== "retry") return decision;
    if (!signal.aborted && this.#jobs.get(key) === job) this.#jobs.delete(key);
    return decision ?? { do: "retry", afterMs: backoffMs({ minMs: 100, maxMs: 5_000 }, attempt) };
  }

  #start(work: Work): Job {
    this.#forget();
    this.#running += 1;
    const job: Job = {
      isRunning: true,
      decision: undefined,
      ended: work
        .run()
        .then(
          (decision) => {
            job.decision = decision;
          },
          (error: unknown) => {
            if (!this.#options.signal.aborted) this.#options.log.warn({ event: "job.failed", err: error });
          },
        )
        .finally(() => {
          job.isRunning = false;
          this.#running -= 1;
        }),
    };
    this.#jobs.set(work.key, job);
    return job;
  }

  #forget(): void {
    if (this.#jobs.size < this.#options.remembered) return;
    for (const [key, job] of this.#jobs) {
      if (job.isRunning) continue;
      this.#jobs.delete(key);
      return;
    }
  }
}

/** It starts when the delivery before it in its lane is settled. */
const BEHIND: Verdict = { do: "retry", afterMs: 0 };
