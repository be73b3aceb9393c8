/** What every backend must do. A case throws where it does not, so that broken ones can be shown to fail. */
import { randomUUID } from "node:crypto";
import { test } from "vitest";
import type { JobsEvent } from "../log.ts";
import { type JobsOptions, openJobs } from "../open.ts";
import type { Jobs } from "../jobs.ts";
import { deduplication } from "./deduplication.ts";
import { endings } from "./endings.ts";
import { failures } from "./failing.ts";
import { timing } from "./timing.ts";

export interface Subject {
  readonly url: string;
  /** Ends the server as a crash would, and brings it back on the same address. */
  readonly crash: () => Promise<void>;
  /** In place of the real one, to show that a broken one is found out. */
  readonly open?: (options: JobsOptions) => Promise<Jobs>;
  /** How long a condition may take, default 20 s. */
  readonly patienceMs?: number;
}

/** What a case works with: a queue of its own, and everything that it opened is closed after it. */
export interface Bench {
  readonly url: string;
  readonly queue: string;
  readonly lockMs: number;
  readonly events: readonly JobsEvent[];
  readonly crash: () => Promise<void>;
  /** Another process's view of the same queue. @param lockMs default: the bench's */
  open(lockMs?: number): Promise<Jobs>;
  /** Resolves once `assertion` no longer throws. */
  settles(assertion: () => void): Promise<void>;
}

export type Case = (bench: Bench) => Promise<void>;

export const JOBS_CASES: Readonly<Record<string, Case>> = {
  ...timing,
  ...failures,
  ...deduplication,
  ...endings,
};

/** @param subject started before the tests run */
export function jobsContract(subject: () => Subject): void {
  for (const [name, run] of Object.entries(JOBS_CASES)) {
    test(name, { timeout: 60_000 }, () => runCase(run, subject()));
  }
}

export async function runCase(run: Case, subject: Subject): Promise<void> {
  const { url, crash, open = openJobs, patienceMs = 20_000 } = subject;
  await using opened = new AsyncDisposableStack();
  const events: JobsEvent[] = [];
  const log = {
    info: (event: JobsEvent) => void events.push(event),
    warn: (event: JobsEvent) => void events.push(event),
  };
  const queue = `t${randomUUID()}`;
  const lockMs = 1_000;
  await run({
    url,
    queue,
    lockMs,
    events,
    crash,
    open: async (lock = lockMs) => opened.use(await open({ url, log, queue, lockMs: lock })),
    settles: (assertion) => settled(assertion, patienceMs),
  });
}

async function settled(assertion: () => void, patienceMs: number): Promise<void> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    try {
      return assertion();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
