/** Notices a connection that is open but no longer served: after a silence it asks, and without an answer it gives up. */
import type { Timers } from "./timers.ts";

export interface LivenessOptions {
  readonly quietMs: number;
  readonly graceMs: number;
  readonly ask: () => void;
  readonly onUnanswered: () => void;
  readonly timers: Timers;
  /** True while we do not read ourselves; then silence has no meaning. */
  readonly isPaused: () => boolean;
}

export class Liveness {
  readonly #options: LivenessOptions;
  #heardMs: number;
  #askedMs: number | undefined;

  constructor(options: LivenessOptions) {
    this.#options = options;
    this.#heardMs = options.timers.monotonicMs();
  }

  start(): void {
    this.heard();
    this.#arm(this.#options.quietMs);
  }

  /** Anything came from the server. */
  heard(): void {
    this.#heardMs = this.#options.timers.monotonicMs();
    this.#askedMs = undefined;
  }

  #arm(ms: number): void {
    this.#options.timers.after(Math.max(1, ms), () => this.#look());
  }

  #look(): void {
    const { quietMs, graceMs, ask, onUnanswered, isPaused, timers } = this.#options;
    const nowMs = timers.monotonicMs();
    if (isPaused()) this.heard();
    if (this.#askedMs !== undefined && nowMs - this.#askedMs >= graceMs) {
      onUnanswered();
      return;
    }
    const leftMs = quietMs - (nowMs - this.#heardMs);
    if (this.#askedMs === undefined && leftMs <= 0) {
      this.#askedMs = nowMs;
      ask();
    }
    this.#arm(this.#askedMs === undefined ? leftMs : graceMs - (nowMs - this.#askedMs));
  }
}
