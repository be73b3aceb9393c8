/**
 * Where arrivals wait to be handled: gathers them into batches and prepares the next one while an
 * earlier one is being handled. At most `maxBatch` are prepared ahead.
 *
 * An arrival after a quiet time goes on at once; only a stream of them lingers to fill batches.
 */
import type { Delivery, Handler } from "../bus.ts";
import type { Clock } from "../clock.ts";
import { Deque } from "../deque.ts";
import type { Item } from "./item.ts";

export interface StageOptions<P> {
  readonly prepare: Handler<P>["prepare"];
  readonly maxBatch: number;
  readonly lingerMs: number;
  readonly clock: Clock;
  /** Something can be taken. */
  readonly onReady: () => void;
}

/** A batch to handle, or one whose preparation failed. */
export interface Batch<P> {
  readonly items: Item<P>[];
  readonly failure?: { readonly error: unknown };
}

export class Stage<P> {
  readonly #options: StageOptions<P>;
  readonly #arrived = new Deque<Item<P>>();
  readonly #ready = new Deque<Item<P>>();
  #failed: Batch<P> | undefined;
  #preparing = false;
  #ripe = false;
  #cancelLinger: (() => void) | undefined;
  #lastTakenAt = Number.NEGATIVE_INFINITY;
  /** Rises when everything is dropped, so that a preparation under way is recognised as stale. */
  #generation = 0;

  constructor(options: StageOptions<P>) {
    this.#options = options;
  }

  push(item: Item<P>): void {
    this.#arrived.push(item);
    if (this.#ripe) return;
    if (this.#arrived.size >= this.#options.maxBatch) this.#ripen();
    else if (this.#cancelLinger === undefined) this.#linger();
  }

  take(): Batch<P> | undefined {
    const { prepare, maxBatch } = this.#options;
    if (prepare === undefined) {
      return this.#ripe ? { items: this.#gather(maxBatch) } : undefined;
    }
    if (this.#ready.size > 0) {
      const items = this.#ready.take(maxBatch);
      this.#prepareNext();
      return { items };
    }
    const failed = this.#failed;
    this.#failed = undefined;
    if (failed !== undefined) this.#prepareNext();
    return failed;
  }

  clear(): void {
    this.#generation++;
    this.#arrived.clear();
    this.#ready.clear();
    this.#failed = undefined;
    this.#preparing = false;
    this.#ripe = false;
    this.#stopLinger();
  }

  #linger(): void {
    const { clock, lingerMs } = this.#options;
    const quiet = clock.now() - this.#lastTakenAt > lingerMs;
    this.#cancelLinger = clock.after(quiet ? 0 : lingerMs, () => this.#ripen());
  }

  #ripen(): void {
    this.#stopLinger();
    this.#ripe = true;
    if (this.#options.prepare === undefined) this.#options.onReady();
    else this.#prepareNext();
  }

  #stopLinger(): void {
    this.#cancelLinger?.();
    this.#cancelLinger = undefined;
  }

  #gather(most: number): Item<P>[] {
    const items = this.#arrived.take(most);
    this.#lastTakenAt = this.#options.clock.now();
    this.#ripe = this.#arrived.size >= this.#options.maxBatch;
    if (!this.#ripe && this.#arrived.size > 0 && this.#cancelLinger === undefined) this.#linger();
    return items;
  }

  #prepareNext(): void {
    const room = this.#options.maxBatch - this.#ready.size;
    if (this.#preparing || !this.#ripe || this.#failed !== undefined || room <= 0) return;
    this.#preparing = true;
    void this.#prepare(this.#gather(room), this.#generation);
  }

  async #prepare(items: Item<P>[], generation: number): Promise<void> {
    let failed: Batch<P> | undefined;
    try {
      await prepareItems(items, this.#options.prepare);
    } catch (error) {
      failed = { items, failure: { error } };
    }
    if (generation !== this.#generation) return;
    this.#preparing = false;
    this.#failed = failed;
    if (failed === undefined) for (const item of items) this.#ready.push(item);
    this.#prepareNext();
    this.#options.onReady();
  }
}

/** Gives every item its value. Rejects when `prepare` does or answers another number of them. */
export async function prepareItems<P>(
  items: readonly Item<P>[],
  prepare: Handler<P>["prepare"],
): Promise<void> {
  if (prepare === undefined) return;
  const batch: Delivery[] = items.map((item) => item.delivery);
  const values = await prepare(batch);
  if (values.length !== items.length) {
    throw new Error(`prepare answered ${values.length} values for ${items.length} deliveries`);
  }
  for (let at = 0; at < items.length; at++) {
    const item = items[at] as Item<P>;
    item.value = values[at] as P;
    item.prepared = true;
  }
}
