/**
 * Looks tokens up by their hash: those of one moment in one statement, and one statement at a time. A flood
 * of guesses costs the database no more than a few statements per second, so that no address need be locked
 * out.
 */
import { FabricError } from "@linkspan/envelopes";
import type { ApiToken } from "@linkspan/store";

/** @returns the tokens in force, by the hexadecimal form of their hash */
export type FindTokens = (hashes: readonly Uint8Array[]) => Promise<ReadonlyMap<string, ApiToken>>;

interface Asked {
  readonly hash: Uint8Array;
  readonly answer: PromiseWithResolvers<ApiToken | undefined>;
}

const BATCH = 500;
/** Larger than the number of connections of the process. */
const MAX_WAITING = 10_000;

export class TokenLookup {
  readonly #find: FindTokens;
  readonly #waiting = new Map<string, Asked>();
  #asking = false;

  constructor(find: FindTokens) {
    this.#find = find;
  }

  /** @throws FabricError `store.unavailable`, `request.rate_limited` */
  find(hash: Uint8Array): Promise<ApiToken | undefined> {
    const key = Buffer.from(hash).toString("hex");
    const known = this.#waiting.get(key);
    if (known !== undefined) return known.answer.promise;
    if (this.#waiting.size >= MAX_WAITING) {
      throw new FabricError("request.rate_limited", "too many requests at once", { retryAfterMs: 1_000 });
    }
    const asked: Asked = { hash, answer: Promise.withResolvers() };
    this.#waiting.set(key, asked);
    if (!this.#asking) void this.#ask();
    return asked.answer.promise;
  }

  /** Never rejects: each answer carries its own error. */
  async #ask(): Promise<void> {
    this.#asking = true;
    while (this.#waiting.size > 0) {
      const batch = [...this.#waiting].slice(0, BATCH);
      // A request that arrives from now on must see tokens that are written from now on.
      for (const [key] of batch) this.#waiting.delete(key);
      try {
        const found = await this.#find(batch.map(([, { hash }]) => hash));
        for (const [key, { answer }] of batch) answer.resolve(found.get(key));
      } catch (error) {
        for (const [, { answer }] of batch) answer.reject(error);
      }
    }
    this.#asking = false;
  }
}
