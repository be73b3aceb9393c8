/**
 * Sends values of which only the newest counts: states, checkpoints, health.
 *
 * One send is in progress at a time. A value that is offered meanwhile replaces the waiting one, so memory is
 * one value and readers never see an older value after a newer one. A failed send is retried with backoff,
 * with the newest value.
 */
import { isFabricError } from "@linkspan/envelopes";
import { backoffMs } from "@linkspan/time";
import { type Clock, pause } from "./clock.ts";

export interface LatestOptions<T> {
  readonly send: (value: T) => Promise<void>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Least time between two sends; the first goes at once. Default 0. */
  readonly everyMs?: number;
  readonly onError: (error: unknown) => void;
}

export class Latest<T> {
  readonly #options: LatestOptions<T>;
  #next: { readonly value: T } | undefined;
  #running: Promise<void> | undefined;
  #hurry = new AbortController();
  #flushing = false;

  constructor(options: LatestOptions<T>) {
    this.#options = options;
  }

  offer(value: T): void {
    if (this.#options.signal.aborted) return;
    this.#next = { value };
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Resolves when no value waits; sends without the delay between two sends; never rejects. */
  async flush(): Promise<void> {
    this.#flushing = true;
    this.#hurry.abort();
    while (this.#running !== undefined) await this.#running;
    this.#flushing = false;
    this.#hurry = new AbortController();
  }

  async #run(): Promise<void> {
    const { send, clock, signal, onError, everyMs = 0 } = this.#options;
    let failures = 0;
    while (this.#next !== undefined && !signal.aborted) {
      const { value } = this.#next;
      this.#next = undefined;
      try {
        await send(value);
        failures = 0;
        if (everyMs > 0 && !this.#flushing) await this.#keepDistance(everyMs);
      } catch (error) {
        if (signal.aborted) return;
        onError(error);
        // A value that does not fit an envelope will not fit the next time either; a newer value may.
        if (isFabricError(error) && error.code.startsWith("envelope.")) continue;
        this.#next ??= { value };
        await pause(clock, backoffMs({ minMs: 100, maxMs: 5_000 }, ++failures), signal);
      }
    }
  }

  async #keepDistance(ms: number): Promise<void> {
    const { clock, signal } = this.#options;
    await pause(clock, ms, AbortSignal.any([signal, this.#hurry.signal]));
  }
}
