/**
 * Limits the bytes that all readers of events together hold in this process. A workspace has at most a
 * quarter of them, so that its slow readers delay only each other.
 */
export interface Held {
  /** Sets the bytes that are really held; it may be more than was requested. */
  resize(bytes: number): void;
  release(): void;
}

interface Waiting {
  readonly key: string;
  readonly bytes: number;
  readonly grant: () => void;
}

export class ByteBudget {
  readonly #total: number;
  readonly #share: number;
  readonly #byKey = new Map<string, number>();
  readonly #waiting = new Set<Waiting>();
  #held = 0;

  constructor(total: number) {
    this.#total = total;
    this.#share = total / 4;
  }

  get held(): number {
    return this.#held;
  }

  /** Waits, first come first served, until enough bytes are free. @throws the signal's reason */
  async take(key: string, bytes: number, signal: AbortSignal): Promise<Held> {
    signal.throwIfAborted();
    if (!this.#fits(key, bytes)) await this.#wait(key, bytes, signal);
    else this.#count(key, bytes);
    let mine = bytes;
    const resize = (to: number) => {
      this.#count(key, to - mine);
      mine = to;
      this.#grantNext();
    };
    return { resize, release: () => resize(0) };
  }

  async #wait(key: string, bytes: number, signal: AbortSignal): Promise<void> {
    const granted = Promise.withResolvers<void>();
    const waiting = { key, bytes, grant: granted.resolve };
    const abort = () => {
      this.#waiting.delete(waiting);
      granted.reject(signal.reason as Error);
    };
    this.#waiting.add(waiting);
    signal.addEventListener("abort", abort, { once: true });
    try {
      await granted.promise;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  #grantNext(): void {
    for (const waiting of this.#waiting) {
      if (this.#held >= this.#total) return;
      if (!this.#fits(waiting.key, waiting.bytes)) continue;
      this.#waiting.delete(waiting);
      this.#count(waiting.key, waiting.bytes);
      waiting.grant();
    }
  }

  /** A key that holds nothing may always take, however small the budget is. */
  #fits(key: string, bytes: number): boolean {
    const mine = this.#byKey.get(key) ?? 0;
    const fits = (held: number, most: number) => held === 0 || held + bytes <= most;
    return fits(mine, this.#share) && fits(this.#held, this.#total);
  }

  #count(key: string, bytes: number): void {
    this.#held += bytes;
    const mine = (this.#byKey.get(key) ?? 0) + bytes;
    if (mine > 0) this.#byKey.set(key, mine);
    else this.#byKey.delete(key);
  }
}
