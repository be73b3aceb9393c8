/**
 * Work that was started and not finished, bounded in number and bytes. An owner that holds as much as is free gets no
 * more, so that owners whose work does not end leave room for the others, however many there are.
 */
export class InFlight {
  readonly #maxCount: number;
  readonly #maxBytes: number;
  readonly #running = new Set<Promise<void>>();
  readonly #owners = new Map<string, Held>();
  #bytes = 0;
  #wake: (() => void) | undefined;

  constructor(maxCount: number, maxBytes: number) {
    this.#maxCount = maxCount;
    this.#maxBytes = maxBytes;
  }

  get hasRoom(): boolean {
    return this.#running.size < this.#maxCount && this.#bytes < this.#maxBytes;
  }

  /** At least 1, so that something larger than all room still goes, alone. */
  get freeBytes(): number {
    return Math.max(1, this.#maxBytes - this.#bytes);
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Owners that get no more for now. */
  get full(): string[] {
    return [...this.#owners.keys()].filter((owner) => !this.hasRoomFor(owner));
  }

  hasRoomFor(owner: string): boolean {
    const { count, bytes } = this.#owners.get(owner) ?? NOTHING;
    return count < this.#maxCount - this.#running.size && bytes < this.#maxBytes - this.#bytes;
  }

  /** @param work must not reject */
  add(owner: string, bytes: number, work: Promise<void>): void {
    this.#count(owner, 1, bytes);
    const done = work.finally(() => {
      this.#running.delete(done);
      this.#count(owner, -1, -bytes);
      this.#wake?.();
    });
    this.#running.add(done);
  }

  #count(owner: string, count: number, bytes: number): void {
    const held = this.#owners.get(owner) ?? NOTHING;
    this.#bytes += bytes;
    if (held.count + count === 0) this.#owners.delete(owner);
    else this.#owners.set(owner, { count: held.count + count, bytes: held.bytes + bytes });
  }

  /** Resolves when more may be started, or when aborted. */
  async room(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !this.hasRoom) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const wake = (): void => resolve();
      this.#wake = wake;
      signal.addEventListener("abort", wake);
      await promise;
      signal.removeEventListener("abort", wake);
      this.#wake = undefined;
    }
  }

  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}

interface Held {
  readonly count: number;
  readonly bytes: number;
}

const NOTHING: Held = { count: 0, bytes: 0 };
