/**
 * Messages that wait for a retry or a later decision, by ordering key. A held key holds back every later message of that
 * key and none of another.
 */
import type { Item } from "./item.ts";

/** The key of messages whose own is not known: while it is held, nothing passes. */
export const EVERYTHING = "";

interface Hold<P> {
  readonly items: Item<P>[];
  /** When its first message may be tried again; infinite while its handler has not decided yet. */
  dueAt: number;
}

export class Holds<P> {
  readonly #byKey = new Map<string, Hold<P>>();

  get size(): number {
    return this.#byKey.size;
  }

  /** The held key whose older messages this one must wait behind. */
  blocking(key: string, order: number): string | undefined {
    if (this.#isBehind(key, order)) return key;
    return this.#isBehind(EVERYTHING, order) ? EVERYTHING : undefined;
  }

  /** The time of its key changes only when it is the key's first message. */
  add(key: string, item: Item<P>, dueAt: number): void {
    const hold = this.#byKey.get(key);
    if (hold === undefined) {
      this.#byKey.set(key, { items: [item], dueAt });
      return;
    }
    let at = hold.items.length;
    while (at > 0 && (hold.items[at - 1] as Item<P>).order > item.order) at--;
    hold.items.splice(at, 0, item);
    if (at === 0) hold.dueAt = dueAt;
  }

  /** @returns false when it is not held: it is being tried now */
  remove(item: Item<P>): boolean {
    for (const key of this.#byKey.keys()) if (this.release(key, item)) return true;
    return false;
  }

  /** Those behind it may be tried at once. @returns false when it is not held under this key */
  release(key: string, item: Item<P>): boolean {
    const hold = this.#byKey.get(key);
    const at = hold?.items.indexOf(item) ?? -1;
    if (hold === undefined || at < 0) return false;
    hold.items.splice(at, 1);
    if (hold.items.length === 0) this.#byKey.delete(key);
    else if (at === 0) hold.dueAt = Number.NEGATIVE_INFINITY;
    return true;
  }

  nextDueAt(): number | undefined {
    let next = Number.POSITIVE_INFINITY;
    for (const { dueAt } of this.#byKey.values()) if (dueAt < next) next = dueAt;
    return next === Number.POSITIVE_INFINITY ? undefined : next;
  }

  /** Those whose time has come, each key in order; a key larger than the room keeps its rest here. */
  takeDue(now: number, most: number): Item<P>[] {
    const due: Item<P>[] = [];
    for (const [key, hold] of this.#byKey) {
      if (hold.dueAt > now) continue;
      due.push(...hold.items.splice(0, most - due.length));
      if (hold.items.length === 0) this.#byKey.delete(key);
      if (due.length === most) break;
    }
    return due;
  }

  clear(): void {
    this.#byKey.clear();
  }

  #isBehind(key: string, order: number): boolean {
    const oldest = this.#byKey.get(key)?.items[0];
    return oldest !== undefined && oldest.order < order;
  }
}
