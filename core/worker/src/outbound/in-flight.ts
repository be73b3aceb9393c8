/** Work that was started and not finished, bounded in number and bytes. */
export class InFlight {
  readonly #maxCount: number;
  readonly #maxBytes: number;
  readonly #running = new Set<Promise<void>>();
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

  /** @param work must not reject */
  add(bytes: number, work: Promise<void>): void {
    this.#bytes += bytes;
    const done = work.finally(() => {
      this.#bytes -= bytes;
      this.#running.delete(done);
      this.#wake?.();
    });
    this.#running.add(done);
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
