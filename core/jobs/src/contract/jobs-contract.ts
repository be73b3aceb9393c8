/**
 * The behaviour that every backend must have. A case throws when the behaviour is missing, so that a test can
 * show that broken backends fail.
 */
import { randomUUID } from "node:crypto";
import { test } from "vitest";
import type { JobsEvent } from "../log.ts";
import { openJobs } from "../open.ts";
import type { Case, Subject } from "./case.ts";
import { deduplication } from "./deduplication.ts";
import { endings } from "./endings.ts";
import { failures } from "./failing.ts";
import { timing } from "./timing.ts";

export type { Subject } from "./case.ts";

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
