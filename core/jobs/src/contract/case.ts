/** The types that a case of the jobs contract uses. */
import type { JobsEvent } from "../log.ts";
import type { JobsOptions } from "../open.ts";
import type { Jobs } from "../jobs.ts";

export interface Subject {
  readonly url: string;
  /** Ends the server as a crash would, and starts it again on the same address. */
  readonly crash: () => Promise<void>;
  /** Used instead of the real `openJobs`, to show that the contract detects a broken one. */
  readonly open?: (options: JobsOptions) => Promise<Jobs>;
  /** Longest time until a condition must hold, default 20 s. */
  readonly patienceMs?: number;
}

/** The tools of one case: a queue of its own; everything that the case opened is closed after it. */
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
