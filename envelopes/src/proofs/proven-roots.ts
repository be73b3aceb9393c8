/** The roots of batches whose signature was checked, so that it is checked once for all members. */

type Done<T> = (error?: T) => void;

export class ProvenRoots<T> {
  readonly #most: number;
  readonly #proven = new Set<string>();
  readonly #checking = new Map<string, Done<T>[]>();

  /** @param most roots that are remembered; the oldest are forgotten first */
  constructor(most: number) {
    this.#most = most;
  }

  has(root: string): boolean {
    return this.#proven.has(root);
  }

  add(root: string): void {
    this.#proven.add(root);
    if (this.#proven.size <= this.#most) return;
    for (const oldest of this.#proven) {
      this.#proven.delete(oldest);
      return;
    }
  }

  /** Runs `check`, unless it is known or being checked. A refusal is not remembered. */
  prove(root: string, check: (done: Done<T>) => void, done: Done<T>): void {
    if (this.#proven.has(root)) {
      done();
      return;
    }
    const others = this.#checking.get(root);
    if (others !== undefined) {
      others.push(done);
      return;
    }
    const waiting = [done];
    this.#checking.set(root, waiting);
    check((error) => {
      this.#checking.delete(root);
      if (error === undefined) this.add(root);
      for (const one of waiting) one(error);
    });
  }
}
