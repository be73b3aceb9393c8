/** Notices a connection that is open and dead: after a silence it asks, and without an answer it gives up. */
import type { Guard } from "./guard.ts";

export interface LivenessOptions {
  readonly quietMs: number;
  readonly graceMs: number;
  readonly ask: () => void;
  readonly onDeaf: () => void;
  readonly guard: Guard;
  /** True while we do not listen ourselves; then silence says nothing. */
  readonly isDeafening: () => boolean;
}

export class Liveness implements Disposable {
  readonly #options: LivenessOptions;
  #timer: NodeJS.Timeout | undefined;
  #heardMs = performance.now();
  #askedMs: number | undefined;

  constructor(options: LivenessOptions) {
    this.#options = options;
    this.#arm(options.quietMs);
  }

  /** Anything came from the server. */
  heard(): void {
    this.#heardMs = performance.now();
    this.#askedMs = undefined;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #arm(ms: number): void {
    this.#timer = setTimeout(() => this.#options.guard(() => this.#look()), Math.max(1, ms));
  }

  #look(): void {
    const { quietMs, graceMs, ask, onDeaf, isDeafening } = this.#options;
    const nowMs = performance.now();
    if (isDeafening()) this.heard();
    if (this.#askedMs !== undefined && nowMs - this.#askedMs >= graceMs) {
      onDeaf();
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
