/**
 * Notices that a confirm does not come: a broker that is starting can lose a message without an answer. One timer, for
 * the oldest message on the wire. It outlives the channel, as messages that are sent again on the next one must be
 * watched, too.
 */
import type { Clock } from "../clock.ts";
import type { Sending } from "./sending.ts";

export interface ConfirmWatchOptions {
  readonly clock: Clock;
  readonly confirmTimeoutMs: number;
  /** The oldest message on the wire; undefined when there is none, or no channel. */
  readonly oldest: () => Sending | undefined;
  /** The broker has blocked publishing: nothing is late meanwhile. */
  readonly isBlocked: () => boolean;
  readonly onLate: (sending: Sending) => void;
}

/** The first message of a lane shows within a fraction of the time whether its queue is there. */
const PROBE_SHARE = 1 / 5;

export class ConfirmWatch {
  readonly #options: ConfirmWatchOptions;
  #watching = false;
  #unblockedAt = Number.NEGATIVE_INFINITY;

  constructor(options: ConfirmWatchOptions) {
    this.#options = options;
  }

  /** The message has been written. */
  sent(sending: Sending): void {
    if (!this.#watching) this.#watch(this.#limitOf(sending));
  }

  /** The time that the broker was blocked does not count. */
  unblocked(): void {
    this.#unblockedAt = this.#options.clock.now();
  }

  #watch(afterMs: number): void {
    const { clock, oldest: oldestOf, isBlocked, onLate } = this.#options;
    this.#watching = true;
    clock.after(afterMs, () => {
      this.#watching = false;
      const oldest = oldestOf();
      if (oldest === undefined) return;
      const since = Math.max(oldest.sentAt, this.#unblockedAt);
      const leftMs = since + this.#limitOf(oldest) - clock.now();
      if (leftMs > 0 || isBlocked()) this.#watch(Math.max(leftMs, 100));
      else onLate(oldest);
    });
  }

  #limitOf({ lane }: Sending): number {
    return this.#options.confirmTimeoutMs * (lane.isOpen ? 1 : PROBE_SHARE);
  }
}
