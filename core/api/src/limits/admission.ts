/**
 * Decides whether one more request is accepted: by rates, and by the number of requests that are being
 * answered.
 */
import { setTimeout as pause } from "node:timers/promises";
import { FabricError } from "@linkspan/envelopes";
import { FairTurns } from "./fair-turns.ts";
import type { ApiLimits } from "./limits.ts";
import { Places } from "./places.ts";
import { RateLimiter } from "./rate-limiter.ts";

/** The owner of a request, as the limits count it. */
export interface Counted {
  /** Identifies the token. */
  readonly tokenKey: string;
  readonly workspaceId: string;
  /** Whether the request counts for the workspace that it is about. */
  readonly countsForWorkspace: boolean;
}

const SOON_MS = 1_000;
/**
 * Longest turn. A request that takes longer waits for something other than the database: a daemon, a slow
 * broker, free memory.
 */
const LONGEST_TURN_MS = 1_000;
/** Requests that are being answered in this process at the same time, of all workspaces together. */
const REQUESTS = 2_000;

export class Admission {
  readonly #limits: ApiLimits;
  readonly #anonymous: RateLimiter;
  readonly #failures: RateLimiter;
  readonly #tokens: RateLimiter;
  readonly #workspaces: RateLimiter;
  readonly #mistakes: RateLimiter;
  readonly #bodyBytes: RateLimiter;
  readonly #turns: FairTurns;
  readonly #answering = new Places(REQUESTS);
  readonly #streams: Places;
  readonly #transfers: Places;
  readonly #nowMs: () => number;

  /** @param nowMs a clock that never goes back */
  constructor(limits: ApiLimits, nowMs: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#nowMs = nowMs;
    const { remembered } = limits;
    this.#anonymous = new RateLimiter(limits.anonymous, remembered);
    this.#failures = new RateLimiter(limits.failures, remembered);
    this.#tokens = new RateLimiter(limits.perToken, remembered);
    this.#workspaces = new RateLimiter(limits.perWorkspace, remembered);
    this.#mistakes = new RateLimiter(limits.mistakes, remembered);
    this.#bodyBytes = new RateLimiter(limits.bodyBytes, remembered);
    this.#turns = new FairTurns(limits.turns, nowMs);
    this.#streams = new Places(limits.streams);
    this.#transfers = new Places(limits.transfers);
  }

  /** A request that needs no token. @throws FabricError `request.rate_limited` */
  anonymous(client: string): void {
    refuseFor(this.#anonymous.take(client, this.#nowMs()), "too many requests from this address");
  }

  /** A request whose token is missing or wrong. @throws FabricError `request.rate_limited` */
  failed(client: string): void {
    refuseFor(this.#failures.take(client, this.#nowMs()), "too many failed attempts from this address");
  }

  /**
   * A request with a valid token.
   *
   * @returns a function that frees its place when it is answered
   * @throws FabricError `request.rate_limited`
   */
  request(counted: Counted): () => void {
    const nowMs = this.#nowMs();
    refuseFor(
      this.#mistakes.waitMs(counted.tokenKey, nowMs),
      "too many requests with this token were refused; the codes of those answers say why",
    );
    refuseFor(this.#tokens.take(counted.tokenKey, nowMs), "too many requests with this token");
    if (counted.countsForWorkspace) {
      refuseFor(this.#workspaces.take(counted.workspaceId, nowMs), "too many requests of this workspace");
    }
    const keys = new Map(
      counted.countsForWorkspace ? [[counted.workspaceId, this.#limits.requestsPerWorkspace]] : [],
    );
    return this.#place(this.#answering, keys, "too many requests of this workspace at once");
  }

  /** What a request asks for beyond one thing counts like further requests. @throws FabricError `request.rate_limited` */
  more(counted: Counted, count: number): void {
    if (count <= 0) return;
    const nowMs = this.#nowMs();
    refuseFor(this.#tokens.take(counted.tokenKey, nowMs, count), "too many requests with this token");
    if (counted.countsForWorkspace) {
      const waitMs = this.#workspaces.take(counted.workspaceId, nowMs, count);
      refuseFor(waitMs, "too many requests of this workspace");
    }
  }

  /** Resolves when a request over a rate may be told so. */
  async beforeRefusal(): Promise<void> {
    const { refusedAfterMs } = this.#limits;
    if (refusedAfterMs > 0) await pause(refusedAfterMs, undefined, { ref: false });
  }

  /** A request that was refused because of its content or the workspace that it names. */
  mistaken({ tokenKey }: Counted): void {
    this.#mistakes.charge(tokenKey, this.#nowMs());
  }

  /** A body that was read and is not parsed yet. @throws FabricError `request.rate_limited` */
  body(counted: Counted, bytes: number): void {
    refuseFor(
      this.#bodyBytes.take(tenantOf(counted), this.#nowMs(), bytes),
      "too many bytes of this workspace",
    );
  }

  /**
   * Waits for the request's turn.
   *
   * @param signal aborted when nobody waits for its answer
   * @returns a function that ends the turn; a turn that takes too long ends by itself
   */
  async turn(counted: Counted, signal: AbortSignal): Promise<() => void> {
    const end = await this.#turns.take(tenantOf(counted), signal);
    const late = setTimeout(end, LONGEST_TURN_MS).unref();
    return () => {
      clearTimeout(late);
      end();
    };
  }

  /**
   * A stream or a long poll, in addition to its request.
   *
   * @returns a function that frees its place when it ends
   * @throws FabricError `request.rate_limited`
   */
  stream(counted: Counted): () => void {
    const { streamsPerToken, streamsPerWorkspace } = this.#limits;
    const keys = new Map([
      [`token ${counted.tokenKey}`, streamsPerToken],
      [`workspace ${counted.workspaceId}`, streamsPerWorkspace],
    ]);
    return this.#place(this.#streams, keys, "too many streams and long polls of this token or workspace");
  }

  /**
   * An upload or a download of media, instead of a place among the requests that are being answered.
   *
   * @returns a function that frees its place when it ends
   * @throws FabricError `request.rate_limited`
   */
  transfer(workspaceId: string): () => void {
    const keys = new Map([[workspaceId, this.#limits.transfersPerWorkspace]]);
    return this.#place(this.#transfers, keys, "too many uploads and downloads of this workspace at once");
  }

  #place(places: Places, keys: ReadonlyMap<string, number>, detail: string): () => void {
    const release = places.take(keys);
    if (release === undefined) refuseFor(SOON_MS, detail);
    return release ?? (() => undefined);
  }
}

/** The tenant of a request: a workspace, or the operators of the installation. */
function tenantOf({ workspaceId, tokenKey, countsForWorkspace }: Counted): string {
  return countsForWorkspace ? `workspace ${workspaceId}` : `token ${tokenKey}`;
}

function refuseFor(retryAfterMs: number, detail: string): void {
  if (retryAfterMs > 0) throw new FabricError("request.rate_limited", detail, { retryAfterMs });
}
