import { sleep, systemClock } from "@linkspan/time";

/** A time in which a process takes no job, so that one that it handed on goes to another process. */
export class TakePause {
  #untilMs = Number.NEGATIVE_INFINITY;

  /** Begins now. */
  begin(ms: number): void {
    this.#untilMs = performance.now() + ms;
  }

  /** Resolves when no pause is on. */
  async over(): Promise<void> {
    const leftMs = this.#untilMs - performance.now();
    if (leftMs > 0) await sleep(systemClock, leftMs);
  }
}
