/**
 * The schedules that this process made, kept in place: they are compared with the clock and with the storage from time
 * to time. BullMQ computes each time of a schedule from the time before, so one that was computed while the clock was
 * ahead would delay the job by as much; and a storage that lost its data, such as Redis without a disk that was started
 * again, would never run the job again.
 */
import type { JobsOptions, RepeatOptions } from "bullmq";
import type { JobsLog } from "./log.ts";

/** Of BullMQ's queue. */
export interface Storage {
  getJobScheduler(id: string): Promise<{ readonly next?: number | undefined } | undefined>;
  removeJobScheduler(id: string): Promise<unknown>;
  upsertJobScheduler(id: string, when: Omit<RepeatOptions, "key">, template: Template): Promise<unknown>;
}

export interface Template {
  readonly name: string;
  readonly data: unknown;
  readonly opts: JobsOptions;
}

export interface Repeated {
  readonly id: string;
  readonly when: Omit<RepeatOptions, "key">;
  readonly template: Template;
}

export interface SchedulesOptions {
  readonly storage: Storage;
  readonly log: JobsLog;
  /** How often they are looked at, milliseconds. */
  readonly lookMs: number;
  readonly onError: (error: unknown) => void;
}

/** The largest assumed difference between the clocks of two processes. */
const CLOCKS_DIFFER_MS = 60_000;

export class Schedules {
  readonly #options: SchedulesOptions;
  readonly #made = new Map<string, Repeated>();
  #looking: NodeJS.Timeout | undefined;

  constructor(options: SchedulesOptions) {
    this.#options = options;
  }

  /** Makes it, or replaces the one of this id. @throws what BullMQ throws */
  async make(repeated: Repeated): Promise<void> {
    await this.#isAmiss(repeated);
    this.#made.set(repeated.id, repeated);
    this.#looking ??= setInterval(() => void this.#look(), this.#options.lookMs).unref();
    await this.#place(repeated);
  }

  /** @throws what BullMQ throws */
  async end(id: string): Promise<void> {
    this.#made.delete(id);
    await this.#options.storage.removeJobScheduler(id);
  }

  /** Looks at nothing more. */
  close(): void {
    clearInterval(this.#looking);
    this.#made.clear();
  }

  async #look(): Promise<void> {
    for (const repeated of this.#made.values()) {
      try {
        const isAmiss = await this.#isAmiss(repeated);
        // It may have been ended or replaced meanwhile.
        if (isAmiss && this.#made.get(repeated.id) === repeated) await this.#place(repeated);
      } catch (error) {
        this.#options.onError(error);
      }
    }
  }

  /** Removes one whose next time is too far ahead. @returns whether it is not in its place */
  async #isAmiss({ id, when }: Repeated): Promise<boolean> {
    const { storage, log } = this.#options;
    const known = await storage.getJobScheduler(id);
    if (known === undefined) {
      if (this.#made.has(id)) log.warn({ event: "jobs.schedule_gone", schedule: id });
      return true;
    }
    const { every } = when;
    if (every === undefined || known.next === undefined) return false;
    if (known.next <= Date.now() + every + CLOCKS_DIFFER_MS) return false;
    await storage.removeJobScheduler(id);
    log.warn({ event: "jobs.clock_went_back", schedule: id });
    return true;
  }

  async #place({ id, when, template }: Repeated): Promise<void> {
    await this.#options.storage.upsertJobScheduler(id, when, template);
  }
}
