/**
 * Holding the instance.
 *
 * waiting (asks until nobody else holds it) → held (beats thrice per term) → lost, when another process took it or no
 * beat was answered before the term ended, counted from before the last good question; → waiting again. A process
 * that is told to stop goes on beating until its work has ended, so nobody takes over while it still acts.
 */
import { FabricError, type HelloReply } from "@linkspan/envelopes";
import type { Logger } from "pino";
import { backoffMs } from "./backoff.ts";
import { type Clock, pause } from "./clock.ts";
import { childOf } from "./signals.ts";

export interface LeaseOptions {
  /** Asks for the lease, or to keep it. @throws RefuseToRun to give up for good */
  readonly beat: (epoch: number | undefined) => Promise<HelloReply["lease"]>;
  /** Works while it is held; must end soon after either signal is aborted, at once after `lost`. */
  readonly work: (epoch: number, lost: AbortSignal, stop: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** This process must not run against this core. */
export class RefuseToRun extends FabricError {}

interface Lease {
  readonly epoch: number;
  readonly untilMs: number;
  readonly ttlMs: number;
}

/** How long before its end a lease counts as lost: whatever is under way must be able to stop. */
const MARGIN_MS = 500;
const ASK_AT_LEAST_EVERY_MS = 1_000;

/** @throws RefuseToRun */
export async function holdLease(options: LeaseOptions, stop: AbortSignal): Promise<void> {
  for (let failures = 0; !stop.aborted; ) {
    const lease = await waitFor(options, stop);
    if (lease === undefined) return;
    options.log.info({ event: "lease.held", epoch: lease.epoch });
    try {
      await serve(lease, options, stop);
      failures = 0;
    } catch (error) {
      if (error instanceof RefuseToRun) throw error;
      options.log.error({ event: "term.failed", epoch: lease.epoch, err: error });
      await pause(options.clock, backoffMs(++failures, { firstMs: 500, maxMs: 10_000 }), stop);
    }
  }
}

async function waitFor({ beat, clock, log }: LeaseOptions, stop: AbortSignal): Promise<Lease | undefined> {
  for (let failures = 0; !stop.aborted; ) {
    const askedMs = clock.monotonicMs();
    try {
      const answer = await beat(undefined);
      failures = 0;
      if (answer.state === "held") return leaseOf(answer, askedMs);
      log.debug({ event: "lease.taken", retry_after_ms: answer.retry_after_ms });
      await pause(clock, Math.min(answer.retry_after_ms, ASK_AT_LEAST_EVERY_MS), stop);
    } catch (error) {
      if (error instanceof RefuseToRun) throw error;
      failures += 1;
      if (stop.aborted) return undefined;
      log.warn({ event: "lease.unanswered", failures, err: error });
      await pause(clock, backoffMs(failures, { firstMs: 100, maxMs: ASK_AT_LEAST_EVERY_MS }), stop);
    }
  }
  return undefined;
}

async function serve(first: Lease, { beat, work, clock, log }: LeaseOptions, stop: AbortSignal): Promise<void> {
  const lost = new AbortController();
  const ended = childOf(lost.signal);
  const working = work(first.epoch, lost.signal, stop).finally(() => ended.abort());
  const beating = keep(first, beat, clock, ended.signal).then((why) => {
    if (why === undefined) return;
    log.warn({ event: "lease.lost", epoch: first.epoch, err: why });
    lost.abort(why);
  });
  const [worked, beaten] = await Promise.allSettled([working, beating]);
  if (beaten.status === "rejected") throw beaten.reason;
  if (worked.status === "rejected" && !lost.signal.aborted) throw worked.reason;
}

/** Beats until `ended`. @returns why the lease is lost, if it is */
async function keep(
  first: Lease,
  beat: LeaseOptions["beat"],
  clock: Clock,
  ended: AbortSignal,
): Promise<FabricError | undefined> {
  let lease = first;
  for (;;) {
    await pause(clock, lease.ttlMs / 3, ended);
    const next = await renewed(lease, beat, clock, ended);
    if (ended.aborted) return undefined;
    if (next instanceof FabricError) return next;
    lease = next;
  }
}

async function renewed(
  lease: Lease,
  beat: LeaseOptions["beat"],
  clock: Clock,
  ended: AbortSignal,
): Promise<Lease | FabricError> {
  let cause: unknown;
  for (let failures = 0; !ended.aborted; ) {
    const leftMs = lease.untilMs - MARGIN_MS - clock.monotonicMs();
    if (leftMs <= 0) break;
    const askedMs = clock.monotonicMs();
    const late = childOf(ended);
    try {
      const answer = await Promise.race([
        beat(lease.epoch),
        pause(clock, leftMs, late.signal).then(() => undefined),
      ]);
      if (answer?.state === "held" && answer.epoch === lease.epoch) return leaseOf(answer, askedMs);
      if (answer !== undefined) return new FabricError("lease.lost", "another process holds the instance now");
    } catch (error) {
      cause = error;
      await pause(clock, Math.min(leftMs, backoffMs(++failures, { firstMs: 100, maxMs: 1_000 })), ended);
    } finally {
      late.abort();
    }
  }
  return new FabricError("lease.lost", "the core did not renew the lease in time", { cause });
}

function leaseOf(answer: Extract<HelloReply["lease"], { state: "held" }>, askedMs: number): Lease {
  return { epoch: answer.epoch, ttlMs: answer.ttl_ms, untilMs: askedMs + answer.ttl_ms };
}
