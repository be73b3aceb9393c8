/** Whether one more request may come in: rates, and how many are being answered. */
import { FabricError } from "@linkspan/envelopes";
import type { ApiLimits } from "./limits.ts";
import { Places } from "./places.ts";
import { RateLimiter } from "./rate-limiter.ts";

/** Whose request it is, as the limits count. */
export interface Counted {
  /** Identifies the token. */
  readonly tokenKey: string;
  readonly workspaceId: string;
  /** Whether the request counts for the workspace that it is about. */
  readonly countsForWorkspace: boolean;
}

const SOON_MS = 1_000;
/** What is being answered in this process at once, of all workspaces together. */
const REQUESTS = 2_000;

export class Admission {
  readonly #limits: ApiLimits;
  readonly #anonymous: RateLimiter;
  readonly #failures: RateLimiter;
  readonly #tokens: RateLimiter;
  readonly #workspaces: RateLimiter;
  readonly #answering = new Places(REQUESTS);
  readonly #streams: Places;
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
    this.#streams = new Places(limits.streams);
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
   * @returns gives its place back when it is answered
   * @throws FabricError `request.rate_limited`
   */
  request(counted: Counted): () => void {
    const nowMs = this.#nowMs();
    refuseFor(this.#tokens.take(counted.tokenKey, nowMs), "too many requests with this token");
    if (counted.countsForWorkspace) {
      refuseFor(this.#workspaces.take(counted.workspaceId, nowMs), "too many requests of this workspace");
    }
    const keys = new Map(
      counted.countsForWorkspace ? [[counted.workspaceId, this.#limits.requestsPerWorkspace]] : [],
    );
    return this.#place(this.#answering, keys, "too many requests of this workspace at once");
  }

  /**
   * A stream or a long poll, beside its request.
   *
   * @returns gives its place back when it ends
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

  #place(places: Places, keys: ReadonlyMap<string, number>, detail: string): () => void {
    const release = places.take(keys);
    if (release === undefined) refuseFor(SOON_MS, detail);
    return release ?? (() => undefined);
  }
}

function refuseFor(retryAfterMs: number, detail: string): void {
  if (retryAfterMs > 0) throw new FabricError("request.rate_limited", detail, { retryAfterMs });
}
