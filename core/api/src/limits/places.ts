/** A limited number of places, in total and for each of the keys that a holder counts for. */
export class Places {
  readonly #total: number;
  readonly #held = new Map<string, number>();
  #count = 0;

  constructor(total: number) {
    this.#total = total;
  }

  get count(): number {
    return this.#count;
  }

  /**
   * @param keys the keys that the place counts for, each with its largest number of places
   * @returns a function that frees the place, once; undefined when no place is free
   */
  take(keys: ReadonlyMap<string, number>): (() => void) | undefined {
    if (this.#count >= this.#total) return undefined;
    for (const [key, most] of keys) if (this.held(key) >= most) return undefined;
    this.#count += 1;
    for (const key of keys.keys()) this.#held.set(key, this.held(key) + 1);
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.#count -= 1;
      for (const key of keys.keys()) this.#release(key);
    };
  }

  held(key: string): number {
    return this.#held.get(key) ?? 0;
  }

  #release(key: string): void {
    const left = this.held(key) - 1;
    if (left > 0) this.#held.set(key, left);
    else this.#held.delete(key);
  }
}
