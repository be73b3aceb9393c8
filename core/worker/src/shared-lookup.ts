/** Reads by id, those of one moment in one statement and one statement at a time. */

const BATCH = 500;

export class SharedLookup<V> {
  readonly #find: (ids: readonly string[]) => Promise<ReadonlyMap<string, V>>;
  readonly #waiting = new Map<string, PromiseWithResolvers<V | undefined>>();
  #asking = false;

  /** @param find by id; unknown ids are left out */
  constructor(find: (ids: readonly string[]) => Promise<ReadonlyMap<string, V>>) {
    this.#find = find;
  }

  /** @throws what `find` rejects with, for everybody who shared the statement */
  find(id: string): Promise<V | undefined> {
    const known = this.#waiting.get(id);
    if (known !== undefined) return known.promise;
    const asked = Promise.withResolvers<V | undefined>();
    this.#waiting.set(id, asked);
    if (!this.#asking) void this.#ask();
    return asked.promise;
  }

  /** Never rejects: each answer carries its own failure. */
  async #ask(): Promise<void> {
    this.#asking = true;
    // Who asks at this moment joins the first statement.
    await Promise.resolve();
    while (this.#waiting.size > 0) {
      const batch = [...this.#waiting].slice(0, BATCH);
      // Who asks from now on must see what is written from now on.
      for (const [id] of batch) this.#waiting.delete(id);
      try {
        const found = await this.#find(batch.map(([id]) => id));
        for (const [id, asked] of batch) asked.resolve(found.get(id));
      } catch (error) {
        for (const [, asked] of batch) asked.reject(error);
      }
    }
    this.#asking = false;
  }
}
