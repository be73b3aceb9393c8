/** A body of text frames that detects whether its reader receives them. */
import { Readable } from "node:stream";

export class Frames extends Readable {
  #wanted: (() => void) | undefined;

  constructor() {
    super({ objectMode: true, highWaterMark: 1 });
  }

  override _read(): void {
    this.#wanted?.();
  }

  /**
   * @returns false when the reader did not receive it, and all before it, within `patienceMs`, or
   *   disconnected
   */
  async put(frame: string, patienceMs: number): Promise<boolean> {
    if (this.destroyed || this.push(frame)) return !this.destroyed;
    const taken = Promise.withResolvers<boolean>();
    this.#wanted = () => taken.resolve(true);
    const left = () => taken.resolve(false);
    this.once("close", left);
    const late = setTimeout(left, patienceMs).unref();
    const result = await taken.promise;
    clearTimeout(late);
    this.off("close", left);
    this.#wanted = undefined;
    return result;
  }

  /** Sends a last frame and then ends; a reader that continues receives both. */
  end(frame: string | undefined): void {
    if (this.destroyed || this.readableEnded) return;
    if (frame !== undefined) this.push(frame);
    this.push(null);
  }
}
