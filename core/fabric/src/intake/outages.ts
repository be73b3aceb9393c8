/** Pauses of a whole subscription: as long as its surroundings fail, and briefly before the first retry of a batch. */
import { type Blamed, isFabricError } from "@linkspan/envelopes";
import { backoffMs, type Patience } from "../backoff.ts";
import type { Random } from "../clock.ts";

export class Outages {
  readonly #patience: Patience;
  readonly #random: Random;
  #count = 0;

  constructor(patience: Patience, random: Random) {
    this.#patience = patience;
    this.#random = random;
  }

  /** The surroundings work again. */
  over(): void {
    this.#count = 0;
  }

  /** @param retried the rejected batch had been tried again already */
  pauseMs(blame: Blamed | "unknown", error: unknown, retried: boolean): number {
    if (blame === "surroundings") {
      const askedMs = isFabricError(error) ? (error.retryAfterMs ?? 0) : 0;
      return Math.max(backoffMs(this.#patience.outage, ++this.#count, this.#random), askedMs);
    }
    return retried ? 0 : backoffMs(this.#patience.outage, 1, this.#random);
  }
}
