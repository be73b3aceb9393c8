/**
 * The holder's side of an instance lease. The authority is elsewhere and numbers each tenure with an
 * epoch; the holder renews after a third of the time, and stops acting as the
 * holder before anybody else may start, counted on its own monotonic clock from before it asked,
 * whether or not an answer ever comes. Time in which the machine was suspended counts.
 *
 * A lease has two ends. After the first the holder acts no more, but a renewal in the same epoch gives it back: an
 * outage of the authority suspends holders. After the second, or when somebody else is said to hold it, it is lost.
 */
import { FabricError } from "@linkspan/envelopes";
import { backoffMs } from "./backoff.ts";
import { type Clock, passedMs, type Random, sleep, suspendedMs, systemClock } from "./clock.ts";

export type LeaseAnswer =
  | {
      readonly state: "held";
      readonly epoch: number;
      /** How long the holder may act. */
      readonly ttlMs: number;
      /** How long it may stay where it is, without acting; absent: no longer than that. */
      readonly stayMs?: number;
    }
  | { readonly state: "taken"; readonly retryAfterMs: number };

/** One uninterrupted time as the holder. */
export interface Tenure {
  readonly epoch: number;
  /** Aborted with FabricError `lease.lost`, or with the outer signal's reason. */
  readonly signal: AbortSignal;
  /** Whether the holder may act, by the clock, now: also right when the process was stopped and timers are late. */
  isHeld(): boolean;
  /** Until when it may act, on the clock; a renewal moves it. */
  heldUntil(): number;
}

export interface HoldLeaseOptions {
  /** Asks for the lease, or, with an epoch, to keep it. The signal says that its answer is of no use any more. */
  acquire(epoch: number | undefined, signal: AbortSignal): Promise<LeaseAnswer>;
  /** Runs while it is held, and must end soon after the tenure's signal; a new tenure waits for that. */
  whileHeld(tenure: Tenure): Promise<void>;
  readonly signal: AbortSignal;
  readonly clock?: Clock;
  readonly random?: Random;
  /** Given up this long before the authority does; default a tenth of the lease. */
  readonly marginMs?: number;
}

const RETRY = { minMs: 200, maxMs: 5_000 };
const LATE = "it was not renewed in time";

/**
 * Resolves when the signal is aborted or `whileHeld` ends by itself; `whileHeld` has then ended.
 * Rejects with what `whileHeld` rejected with while the lease was held; losing the lease is no error.
 */
export async function holdLease(options: HoldLeaseOptions): Promise<void> {
  const { signal, clock = systemClock, random = Math.random } = options;
  let failures = 0;
  while (!signal.aborted) {
    const askedAt = passedMs(clock);
    let answer: LeaseAnswer;
    try {
      answer = checked(await unlessAborted(options.acquire(undefined, signal), signal));
      failures = 0;
    } catch (error) {
      if (!signal.aborted) await sleep(clock, retryMs(error, ++failures, random), signal);
      continue;
    }
    if (answer.state === "taken") await sleep(clock, pauseMs(answer.retryAfterMs, random), signal);
    else if (await new Holding(options, clock, answer, askedAt).run()) return;
  }
}

/** Rejects with the signal's reason when that is aborted first; `waiting` itself goes on. */
export function unlessAborted<T>(waiting: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    signal.addEventListener("abort", abort, { once: true });
    waiting.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** @throws FabricError `internal`: a lease that is over before it begins */
function checked(answer: LeaseAnswer): LeaseAnswer {
  if (answer.state === "taken" || answer.ttlMs > 0) return answer;
  throw new FabricError("internal", `a lease of ${answer.ttlMs} ms`);
}

/** An authority that names no time, or none at all, is not asked in a loop. */
function pauseMs(askedMs: number, random: Random): number {
  const least = Number.isFinite(askedMs) ? Math.max(askedMs, RETRY.minMs) : RETRY.maxMs;
  return least * (1 + random() / 10);
}

function retryMs(error: unknown, failures: number, random: Random): number {
  const asked = error instanceof FabricError ? (error.retryAfterMs ?? 0) : 0;
  return Math.max(asked, backoffMs(RETRY, failures, random));
}

class Holding {
  readonly #options: HoldLeaseOptions;
  readonly #clock: Clock;
  readonly #epoch: number;
  readonly #over = new AbortController();
  #ttlMs: number;
  /** Both in milliseconds as {@link passedMs} counts them. */
  #until: number;
  #stayUntil: number;

  constructor(
    options: HoldLeaseOptions,
    clock: Clock,
    answer: Extract<LeaseAnswer, { state: "held" }>,
    askedAt: number,
  ) {
    this.#options = options;
    this.#clock = clock;
    this.#epoch = answer.epoch;
    this.#ttlMs = answer.ttlMs;
    this.#until = this.#deadline(askedAt, answer.ttlMs);
    this.#stayUntil = this.#stayDeadline(askedAt, answer);
  }

  /** @returns whether the holder is done; false: the lease is lost, ask again */
  async run(): Promise<boolean> {
    const outer = this.#options.signal;
    const stop = (): void => this.#over.abort(outer.reason);
    if (outer.aborted) stop();
    outer.addEventListener("abort", stop, { once: true });
    const renewing = this.#renew();
    const expiring = this.#expire();
    try {
      await this.#options.whileHeld({
        epoch: this.#epoch,
        signal: this.#over.signal,
        isHeld: () => !this.#over.signal.aborted && passedMs(this.#clock) < this.#until,
        heldUntil: () => this.#until - suspendedMs(this.#clock),
      });
      return !isLost(this.#over.signal.reason);
    } catch (error) {
      if (this.#over.signal.aborted) return !isLost(this.#over.signal.reason);
      throw error;
    } finally {
      this.#over.abort();
      outer.removeEventListener("abort", stop);
      await Promise.all([renewing, expiring]);
    }
  }

  /** A renewal that hangs does not keep the next from being sent. */
  async #renew(): Promise<void> {
    const { signal } = this.#over;
    while (!signal.aborted) {
      await sleep(this.#clock, this.#ttlMs / 3, signal);
      if (!signal.aborted) void this.#renewOnce();
    }
  }

  async #renewOnce(): Promise<void> {
    const askedAt = passedMs(this.#clock);
    let answer: LeaseAnswer;
    try {
      answer = await this.#options.acquire(this.#epoch, this.#over.signal);
    } catch {
      return; // the next renewal, or the deadline, decides
    }
    if (this.#over.signal.aborted) return;
    if (answer.state === "taken") this.#lose("another process holds it");
    else if (answer.epoch !== this.#epoch) this.#lose(`it is in epoch ${answer.epoch} now`);
    else if (passedMs(this.#clock) >= this.#stayUntil) this.#lose(LATE);
    else {
      this.#ttlMs = answer.ttlMs;
      this.#until = Math.max(this.#until, this.#deadline(askedAt, answer.ttlMs));
      this.#stayUntil = Math.max(this.#stayUntil, this.#stayDeadline(askedAt, answer));
    }
  }

  async #expire(): Promise<void> {
    const { signal } = this.#over;
    while (!signal.aborted) {
      const leftMs = this.#stayUntil - passedMs(this.#clock);
      if (leftMs <= 0) this.#lose(LATE);
      else await sleep(this.#clock, leftMs, signal);
    }
  }

  #deadline(askedAt: number, ttlMs: number): number {
    return askedAt + ttlMs - (this.#options.marginMs ?? ttlMs / 10);
  }

  #stayDeadline(askedAt: number, { ttlMs, stayMs = ttlMs }: Extract<LeaseAnswer, { state: "held" }>): number {
    return Math.max(this.#deadline(askedAt, ttlMs), this.#deadline(askedAt, stayMs));
  }

  #lose(why: string): void {
    this.#over.abort(new FabricError("lease.lost", `the lease of epoch ${this.#epoch} is lost: ${why}`));
  }
}

function isLost(reason: unknown): boolean {
  return reason instanceof FabricError && reason.code === "lease.lost";
}
