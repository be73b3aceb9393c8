/** What a case of the jobs contract is made of. */
import type { JobsEvent } from "../log.ts";
import type { JobsOptions } from "../open.ts";
import type { Jobs } from "../jobs.ts";

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
