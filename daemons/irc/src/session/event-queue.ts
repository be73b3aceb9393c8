/**
 * Events on their way to the core, in order, one at a time. While more than a few wait, the server is not read:
 * a slow core then slows the server, and memory stays bounded.
 */
import type { PlatformEvent } from "@linkspan/daemon-kit";

export interface EventQueueOptions {
  readonly deliver: (event: PlatformEvent) => Promise<void>;
  readonly pause: () => void;
  readonly resume: () => void;
  /** The core does not take events any more; nothing is delivered after that. */
  readonly onRefused: (error: unknown) => void;
}

const HIGH = 32;

export class EventQueue {
  readonly #options: EventQueueOptions;
  readonly #waiting: PlatformEvent[] = [];
  #working: Promise<void> | undefined;
  #refused = false;
  #paused = false;

  constructor(options: EventQueueOptions) {
    this.#options = options;
  }

  put(events: readonly PlatformEvent[]): void {
    if (events.length === 0 || this.#refused) return;
    this.#waiting.push(...events);
    if (this.#waiting.length > HIGH && !this.#paused) {
      this.#paused = true;
      this.#options.pause();
    }
    this.#working ??= this.#work();
  }

  /** Resolves when everything put so far is delivered. */
  async empty(): Promise<void> {
    await this.#working;
  }

  async #work(): Promise<void> {
    try {
      for (let event = this.#waiting[0]; event !== undefined; event = this.#waiting[0]) {
        await this.#options.deliver(event);
        this.#waiting.shift();
        if (this.#waiting.length === 0 && this.#paused) {
          this.#paused = false;
          this.#options.resume();
        }
      }
    } catch (error) {
      this.#refused = true;
      this.#waiting.length = 0;
      this.#options.onRefused(error);
    } finally {
      this.#working = undefined;
    }
  }
}
