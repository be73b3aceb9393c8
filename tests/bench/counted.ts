/** Waits for what the worker reports after each commit, which costs the database no queries. */
import { within } from "@linkspan/time";

const LONGEST_MS = 300_000;

export class Counted {
  readonly #what: string;
  #missing = Infinity;
  #end: () => void = () => undefined;

  constructor(what: string) {
    this.#what = what;
  }

  /** Resolves when this many more were added. */
  async next(count: number): Promise<void> {
    this.#missing = count;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#end = resolve;
    if (!(await within(LONGEST_MS, promise)))
      throw new Error(`${this.#missing} of ${count} ${this.#what} are missing`);
  }

  add(count: number): void {
    this.#missing -= count;
    if (this.#missing <= 0) this.#end();
  }
}
