/** Publishes dead letters: each is tried until it is safe, and only then is the delivery settled. */
import { type Backoff, backoffMs } from "../backoff.ts";
import type { Death } from "../bus.ts";
import { type Clock, type Random, sleep } from "../clock.ts";
import type { BusListener } from "../events.ts";
import type { Item } from "./item.ts";

export interface DeadLetteringOptions<P> {
  readonly queue: string;
  readonly deadLetter: (item: Item<P>, death: Death) => Promise<void>;
  readonly onSafe: (item: Item<P>) => void;
  readonly backoff: Backoff;
  readonly clock: Clock;
  readonly random: Random;
  readonly listener?: BusListener | undefined;
  /** From now on one try must do. */
  readonly closing: AbortSignal;
}

export class DeadLettering<P> {
  readonly #options: DeadLetteringOptions<P>;
  readonly #underWay = new Set<Promise<void>>();

  constructor(options: DeadLetteringOptions<P>) {
    this.#options = options;
  }

  /** @param isCurrent false once the connection that delivered it is lost: it comes again */
  deadLetter(item: Item<P>, death: Death, isCurrent: () => boolean): void {
    const sending = this.#untilSafe(item, death, isCurrent);
    this.#underWay.add(sending);
    void sending.then(() => this.#underWay.delete(sending));
  }

  async finished(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  async #untilSafe(item: Item<P>, death: Death, isCurrent: () => boolean): Promise<void> {
    const { queue, deadLetter, onSafe, backoff, clock, random, listener, closing } = this.#options;
    for (let failures = 1; ; failures++) {
      if (!isCurrent()) return;
      try {
        await deadLetter(item, death);
        break;
      } catch (error) {
        listener?.({ event: "bus.fault", queue, reason: `cannot dead-letter: ${String(error)}` });
        if (closing.aborted) return;
        await sleep(clock, backoffMs(backoff, failures, random), closing);
      }
    }
    if (!isCurrent()) return;
    onSafe(item);
    const { messageId } = item.delivery;
    listener?.({ event: "bus.dead_lettered", queue, messageId, code: death.code, detail: death.detail });
  }
}
