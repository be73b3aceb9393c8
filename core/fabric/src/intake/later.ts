/**
 * What a handler decides after it has returned. Decisions that come in the same moment are applied together, so that
 * they are settled together.
 */
import type { Decision } from "../bus.ts";
import type { Clock } from "../clock.ts";
import type { Item } from "./item.ts";

export interface LaterOptions<P> {
  readonly clock: Clock;
  /** Of equal length. */
  readonly onDecided: (items: readonly Item<P>[], decisions: readonly Decision[]) => void;
  readonly onFailed: (item: Item<P>, error: unknown) => void;
}

export class LaterDecisions<P> {
  readonly #options: LaterOptions<P>;
  #awaited = new Set<Promise<void>>();
  #decided = new Map<Item<P>, Decision>();
  /** Rises when everything is dropped, so that what is decided afterwards is recognised as stale. */
  #generation = 0;

  constructor(options: LaterOptions<P>) {
    this.#options = options;
  }

  await(item: Item<P>, decision: Promise<Decision>): void {
    const generation = this.#generation;
    const isCurrent = () => generation === this.#generation;
    const awaited = decision
      .then(
        (value) => (isCurrent() ? this.#add(item, value) : undefined),
        (error: unknown) => (isCurrent() ? this.#options.onFailed(item, error) : undefined),
      )
      .finally(() => {
        if (isCurrent()) this.#awaited.delete(awaited);
      });
    this.#awaited.add(awaited);
  }

  /** Resolves when nothing is awaited any more. */
  async finished(): Promise<void> {
    while (this.#awaited.size > 0) await Promise.all(this.#awaited);
    this.#apply();
  }

  clear(): void {
    this.#generation++;
    this.#awaited = new Set();
    this.#decided = new Map();
  }

  #add(item: Item<P>, decision: Decision): void {
    const generation = this.#generation;
    if (this.#decided.size === 0) {
      this.#options.clock.after(0, () => {
        if (generation === this.#generation) this.#apply();
      });
    }
    this.#decided.set(item, decision);
  }

  #apply(): void {
    if (this.#decided.size === 0) return;
    const decided = this.#decided;
    this.#decided = new Map();
    this.#options.onDecided([...decided.keys()], [...decided.values()]);
  }
}
