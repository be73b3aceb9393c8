/** A stream of media on its way into the store: counted, hashed, and its head kept. */
import { createHash } from "node:crypto";
import { FabricError } from "@linkspan/envelopes";
import { HEAD_BYTES } from "@linkspan/media";

export interface Measure {
  readonly bytes: number;
  /** 32 bytes. */
  readonly sha256: Buffer;
  /** The first bytes, as many as decide about the type. */
  readonly head: Uint8Array;
}

export class Measured {
  readonly #maxBytes: number;
  readonly #hash = createHash("sha256");
  readonly #head: Uint8Array[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** @throws FabricError `media.too_large`, or what the source or `alive` throws */
  async *of(source: AsyncIterable<Uint8Array>, alive: () => Promise<void>): AsyncGenerator<Uint8Array> {
    for await (const piece of source) {
      if (this.#bytes + piece.byteLength > this.#maxBytes) {
        throw new FabricError("media.too_large", `media has at most ${this.#maxBytes} bytes`);
      }
      // A copy: what is kept must not keep the whole piece in memory.
      if (this.#bytes < HEAD_BYTES)
        this.#head.push(new Uint8Array(piece.subarray(0, HEAD_BYTES - this.#bytes)));
      this.#bytes += piece.byteLength;
      this.#hash.update(piece);
      await alive();
      yield piece;
    }
  }

  /** Once, after the stream has ended. */
  end(): Measure {
    return { bytes: this.#bytes, sha256: this.#hash.digest(), head: Buffer.concat(this.#head) };
  }
}
