import { FabricError } from "@linkspan/envelopes";
import { type Clock, within as endsWithin } from "@linkspan/time";

export { type Clock, passedMs, type Random, sleep, suspendedMs, systemClock } from "@linkspan/time";

/** The timers of one owner, so that its end leaves none behind. */
export class Timers implements Clock {
  readonly #clock: Clock;
  readonly #pending = new Set<() => void>();
  #ended = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): number {
    return this.#clock.now();
  }

  /** Once ended it starts nothing more: whoever waits for a timer must also watch for the end. */
  after(afterMs: number, run: () => void): () => void {
    if (this.#ended) return () => undefined;
    const stop = this.#clock.after(afterMs, () => {
      this.#pending.delete(cancel);
      run();
    });
    const cancel = (): void => {
      this.#pending.delete(cancel);
      stop();
    };
    this.#pending.add(cancel);
    return cancel;
  }

  end(): void {
    this.#ended = true;
    for (const cancel of this.#pending) cancel();
  }
}

/** Fails when the work takes longer, as a broker may never answer. @throws FabricError (rejects) `bus.timeout` */
export async function within<T>(clock: Clock, timeoutMs: number, what: string, work: Promise<T>): Promise<T> {
  if (await endsWithin(timeoutMs, work, clock)) return work;
  throw new FabricError("bus.timeout", `${what} took longer than ${timeoutMs} ms`);
}
