/**
 * Shared readiness checks. Each check runs once at a time; all callers meanwhile share its answer, and every
 * caller gets an answer in time. However many callers there are, and even if a check hangs, no second run is
 * started in parallel.
 */
import { isFabricError } from "@linkspan/envelopes";
import type { ReadinessCheck } from "./context.ts";

export interface Checked {
  readonly name: string;
  readonly ok: boolean;
  /** The observation; for the operators of the installation. */
  readonly detail: string;
  /** What to do about it; shown to everybody. */
  readonly help: string;
}

/** A check that has not answered after this time is not ok. */
const TIMEOUT_MS = 2_000;
/** A check that never answers is given up after this many times its timeout, and started again. */
const GIVE_UP_TIMES = 15;
const HELP = "see linkspan doctor";

interface Running {
  readonly answer: Promise<Checked>;
  readonly startedAtMs: number;
}

export class SharedChecks {
  readonly #timeoutMs: number;
  readonly #running = new Map<ReadinessCheck, Running>();

  constructor(timeoutMs: number = TIMEOUT_MS) {
    this.#timeoutMs = timeoutMs;
  }

  /** Never rejects. A check that hangs longer than its timeout is answered at once. */
  async of(check: ReadinessCheck): Promise<Checked> {
    const known = this.#running.get(check);
    const abandoned =
      known !== undefined && performance.now() - known.startedAtMs > GIVE_UP_TIMES * this.#timeoutMs;
    const running = known === undefined || abandoned ? this.#begin(check) : known;
    const leftMs = running.startedAtMs + this.#timeoutMs - performance.now();
    if (leftMs <= 0) return late(check);
    const tooLate = Promise.withResolvers<Checked>();
    const timer = setTimeout(() => tooLate.resolve(late(check)), leftMs).unref();
    try {
      return await Promise.race([running.answer, tooLate.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  #begin(check: ReadinessCheck): Running {
    const running: Running = { answer: run(check), startedAtMs: performance.now() };
    void running.answer.then(() => {
      if (this.#running.get(check) === running) this.#running.delete(check);
    });
    this.#running.set(check, running);
    return running;
  }
}

/** Never rejects. */
async function run({ name, help = HELP, check }: ReadinessCheck): Promise<Checked> {
  try {
    return { name, help, ...(await check()) };
  } catch (error) {
    const detail = isFabricError(error) ? error.message : "an unexpected fault; see the log";
    return { name, help, ok: false, detail };
  }
}

function late({ name, help = HELP }: ReadinessCheck): Checked {
  return { name, help, ok: false, detail: "no answer in time" };
}
