/** First in, first out, without moving what remains; also takes things back at the front. */
export class Deque<T> {
  #items: (T | undefined)[];
  #head = 0;

  /** @param items taken over, not copied */
  constructor(items: T[] = []) {
    this.#items = items;
  }

  get size(): number {
    return this.#items.length - this.#head;
  }

  peek(): T | undefined {
    return this.#items[this.#head];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** Puts them before everything else, in the order given. */
  unshift(items: readonly T[]): void {
    if (items.length <= this.#head) {
      this.#head -= items.length;
      for (const [at, item] of items.entries()) this.#items[this.#head + at] = item;
      return;
    }
    this.#items = [...items, ...this.#items.slice(this.#head)];
    this.#head = 0;
  }

  shift(): T | undefined {
    if (this.#head === this.#items.length) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head++] = undefined;
    this.#tidy();
    return item;
  }

  /** Up to so many from the front. */
  take(most: number): T[] {
    const end = Math.min(this.#head + most, this.#items.length);
    const taken = this.#items.slice(this.#head, end) as T[];
    this.#items.fill(undefined, this.#head, end);
    this.#head = end;
    this.#tidy();
    return taken;
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
  }

  *[Symbol.iterator](): IterableIterator<T> {
    for (let at = this.#head; at < this.#items.length; at++) yield this.#items[at] as T;
  }

  #tidy(): void {
    if (this.#head === this.#items.length) {
      this.#items.length = 0;
      this.#head = 0;
    } else if (this.#head > 1_024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
  }
}
