/** State that all readers of events in one process share: the feed, their places, their bytes. */
import { apiTokensByHash } from "@linkspan/store";
import type { Core } from "@linkspan/worker";
import type { FastifyRequest } from "fastify";
import { type Caller, callerOf } from "../auth/caller.ts";
import type { Admission } from "../limits/admission.ts";
import type { ApiLimits } from "../limits/limits.ts";
import { ByteBudget } from "./byte-budget.ts";
import { Feed } from "./feed.ts";
import { type ReadPage, sharedPages } from "./pages.ts";

/** Readers of a revoked token are ended after this time at most. */
const CHECK_MS = 1_000;

export interface Place {
  /** Aborted when the token is revoked. */
  readonly revoked: AbortSignal;
  leave(): void;
}

export class Readers implements AsyncDisposable {
  readonly feed: Feed;
  readonly bytes: ByteBudget;
  readonly readPage: ReadPage;
  readonly slowReaderMs: number;
  readonly #core: Core;
  readonly #admission: Admission;
  readonly #places = new Map<AbortController, Caller>();
  #timer: NodeJS.Timeout | undefined;

  constructor(core: Core, admission: Admission, limits: ApiLimits) {
    this.#core = core;
    this.#admission = admission;
    this.feed = new Feed(core);
    this.bytes = new ByteBudget(limits.streamBytes);
    this.readPage = sharedPages(core, this.feed);
    this.slowReaderMs = limits.slowReaderMs;
  }

  /**
   * Moves the request from its place among short requests to one among those that stay open.
   *
   * @throws FabricError `request.rate_limited`
   */
  enter(request: FastifyRequest): Place {
    const caller = callerOf(request);
    const leave = this.#admission.stream(caller);
    request.leave();
    const revoked = new AbortController();
    this.#places.set(revoked, caller);
    this.#timer ??= setTimeout(() => void this.#check(), CHECK_MS).unref();
    return {
      revoked: revoked.signal,
      leave: () => {
        this.#places.delete(revoked);
        leave();
      },
    };
  }

  /** Checks all tokens of the readers in one statement. Never rejects. */
  async #check(): Promise<void> {
    const places = [...this.#places];
    const hashes = new Map(places.map(([, { tokenKey, tokenHash }]) => [tokenKey, tokenHash]));
    try {
      const known = await apiTokensByHash(this.#core.database.pool, [...hashes.values()]);
      for (const [revoked, { tokenHash }] of places) {
        if (!known.has(Buffer.from(tokenHash).toString("hex"))) revoked.abort();
      }
    } catch (error) {
      this.#core.log.debug(
        { event: "readers.unchecked", err: error },
        "tokens of readers could not be checked; tried again soon",
      );
    }
    const again = this.#places.size > 0;
    this.#timer = again ? setTimeout(() => void this.#check(), CHECK_MS).unref() : undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    await this.feed[Symbol.asyncDispose]();
  }
}
