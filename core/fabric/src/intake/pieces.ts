/** Which deliveries are handled next: rejected ones again, then by turns those that are due and those that are new. */
import { Deque } from "../deque.ts";
import type { Holds } from "./holds.ts";
import type { Item } from "./item.ts";
import type { Stage } from "./stage.ts";

export interface Piece<P> {
  readonly items: readonly Item<P>[];
  /** Already tried again as it is: the next failure halves it. */
  readonly retried: boolean;
  readonly failure?: { readonly error: unknown };
}

export class Pieces<P> {
  readonly #stage: Stage<P>;
  readonly #holds: Holds<P>;
  readonly #maxBatch: number;
  readonly #redo = new Deque<Piece<P>>();
  #freshFirst = false;

  constructor(stage: Stage<P>, holds: Holds<P>, maxBatch: number) {
    this.#stage = stage;
    this.#holds = holds;
    this.#maxBatch = maxBatch;
  }

  /** Neither what is due nor what is new starves the other. */
  next(now: number): Piece<P> | undefined {
    const redo = this.#redo.shift();
    if (redo !== undefined) return redo;
    const freshFirst = this.#freshFirst;
    this.#freshFirst = !freshFirst;
    if (freshFirst) return this.#fresh() ?? this.#due(now);
    return this.#due(now) ?? this.#fresh();
  }

  /** The same deliveries once more, before anything newer. */
  again(items: readonly Item<P>[]): void {
    this.#redo.unshift([{ items, retried: true }]);
  }

  /** The same deliveries in two halves, before anything newer. */
  halve(items: readonly Item<P>[]): void {
    const middle = items.length >> 1;
    const [left, right] = [items.slice(0, middle), items.slice(middle)];
    this.#redo.unshift([
      { items: left, retried: true },
      { items: right, retried: true },
    ]);
  }

  clear(): void {
    this.#redo.clear();
  }

  #fresh(): Piece<P> | undefined {
    const batch = this.#stage.take();
    return batch && { ...batch, retried: false };
  }

  #due(now: number): Piece<P> | undefined {
    if (this.#holds.size === 0) return undefined;
    const items = this.#holds.takeDue(now, this.#maxBatch);
    return items.length === 0 ? undefined : { items, retried: true };
  }
}
