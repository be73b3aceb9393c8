/**
 * Terms of holding the instance, one after another (fabric's `holdLease` implements a single term).
 *
 * A process that is told to stop keeps the lease until its work has ended, so nobody takes over while it
 * still acts. Work that fails while the lease is held is started again with backoff. Some answers of the core
 * end the process.
 */
import { FabricError, isFabricError } from "@linkspan/envelopes";
import { holdLease, type LeaseAnswer, type Tenure } from "@linkspan/fabric";
import { backoffMs } from "@linkspan/time";
import type { Logger } from "pino";
import { asBusClock, type Clock, pause } from "../shared/clock.ts";

export interface TermsOptions {
  /** Asks for the lease, or with an epoch renews it. @throws RefuseToRun to end everything */
  readonly beat: (epoch: number | undefined) => Promise<LeaseAnswer>;
  /** Works until `stop` or the tenure's signal is aborted; then ends cleanly, or at once. */
  readonly work: (tenure: Tenure, stop: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** This process must not run against this core. */
export class RefuseToRun extends FabricError {}

/**
 * Longest interval of a waiting process between requests: it takes over within seconds after a holder has
 * died.
 */
const ASK_EVERY_MS = 1_000;

/** @throws RefuseToRun */
export async function serveTerms(options: TermsOptions, stop: AbortSignal): Promise<void> {
  const { clock, log } = options;
  for (let failures = 0; !stop.aborted; ) {
    try {
      await serveUntilDone(options, stop);
      failures = 0;
    } catch (error) {
      if (error instanceof RefuseToRun) throw error;
      log.error({ event: "term.failed", code: codeOf(error), err: error });
      await pause(clock, backoffMs({ minMs: 500, maxMs: 10_000 }, ++failures), stop);
    }
  }
}

/**
 * Waits for the lease and works under it, term after term. `stop` ends the waiting, but only asks the work to
 * end.
 */
async function serveUntilDone({ beat, work, clock, log }: TermsOptions, stop: AbortSignal): Promise<void> {
  const holding = new AbortController();
  let working = false;
  let refusal: RefuseToRun | undefined;
  let told = false;
  const onStop = () => {
    if (!working) holding.abort(stop.reason);
  };
  stop.addEventListener("abort", onStop);
  try {
    await holdLease({
      clock: asBusClock(clock),
      signal: holding.signal,
      acquire: async (epoch) => {
        try {
          const answer = await beat(epoch);
          if (answer.state === "taken" && !told) log.info({ event: "lease.waiting" });
          told = answer.state === "taken";
          return noLaterThan(ASK_EVERY_MS, answer);
        } catch (error) {
          if (!stop.aborted) log.warn({ event: "lease.unanswered", code: codeOf(error), err: error });
          if (error instanceof RefuseToRun) {
            refusal = error;
            holding.abort(error);
          }
          throw error;
        }
      },
      whileHeld: async (tenure) => {
        working = true;
        try {
          await work(tenure, stop);
        } finally {
          working = false;
          if (stop.aborted) holding.abort(stop.reason);
        }
      },
    });
  } finally {
    stop.removeEventListener("abort", onStop);
  }
  if (refusal !== undefined) throw refusal;
}

function noLaterThan(ms: number, answer: LeaseAnswer): LeaseAnswer {
  return answer.state === "held" ? answer : { ...answer, retryAfterMs: Math.min(answer.retryAfterMs, ms) };
}

function codeOf(error: unknown): string {
  return isFabricError(error) ? error.code : "internal";
}
