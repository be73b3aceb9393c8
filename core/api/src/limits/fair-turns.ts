/**
 * Decides whose work is done next: a limited number of turns at the same time, a limited part of them for one
 * tenant, and tenants in turn. A tenant with many requests waits for its own requests; a tenant with few
 * requests waits for at most one turn of others.
 */
export interface TurnLimits {
  /** Turns at the same time, of all tenants together. */
  readonly atOnce: number;
  /**
   * Turns of one tenant at the same time while another one had a turn lately; a tenant that is alone may use
   * all.
   */
  readonly perTenant: number;
}

/** How long a tenant counts as present after its latest turn, milliseconds. */
const LATELY_MS = 10_000;

export class FairTurns {
  readonly #limits: TurnLimits;
  /** Waiting turns, by tenant, each in the order of the calls. */
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #working = new Map<string, number>();
  /** When the latest turn of a working or waiting tenant began, counted in turns. */
  readonly #latest = new Map<string, number>();
  /** The tenant whose turn began last, and when. */
  #last: { readonly tenant: string; readonly atMs: number } | undefined;
  /** When a turn of any other tenant last began. */
  #otherAtMs = Number.NEGATIVE_INFINITY;
  #begun = 0;
  #count = 0;
  readonly #nowMs: () => number;

  /** @param nowMs a clock that never goes back */
  constructor(limits: TurnLimits, nowMs: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#nowMs = nowMs;
  }

  /** Turns that are in use now. */
  get working(): number {
    return this.#count;
  }

  /**
   * The caller limits how many requests of a tenant wait.
   *
   * @param signal aborted: the request does not wait any more, and its turn is given to the next
   * @returns resolves at its turn, or when aborted, with a function that ends the turn; calling it again
   *   changes nothing
   */
  take(tenant: string, signal: AbortSignal): Promise<() => void> {
    const { promise, resolve } = Promise.withResolvers<() => void>();
    const begin = (): void => {
      signal.removeEventListener("abort", leave);
      resolve(this.#begin(tenant));
    };
    const leave = (): void => {
      const own = this.#waiting.get(tenant);
      own?.delete(begin);
      if (own?.size === 0) this.#waiting.delete(tenant);
      this.#forget(tenant);
      resolve(() => undefined);
    };
    if (signal.aborted) leave();
    else {
      signal.addEventListener("abort", leave, { once: true });
      const own = this.#waiting.get(tenant) ?? new Set();
      own.add(begin);
      this.#waiting.set(tenant, own);
      this.#next();
    }
    return promise;
  }

  #begin(tenant: string): () => void {
    if (this.#last !== undefined && this.#last.tenant !== tenant) this.#otherAtMs = this.#last.atMs;
    this.#last = { tenant, atMs: this.#nowMs() };
    this.#count += 1;
    this.#latest.set(tenant, ++this.#begun);
    this.#working.set(tenant, this.#workingOf(tenant) + 1);
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.#count -= 1;
      const left = this.#workingOf(tenant) - 1;
      if (left > 0) this.#working.set(tenant, left);
      else this.#working.delete(tenant);
      this.#forget(tenant);
      this.#next();
    };
  }

  #next(): void {
    while (this.#count < this.#limits.atOnce) {
      const tenant = this.#tenantInTurn();
      if (tenant === undefined) return;
      const own = this.#waiting.get(tenant) as Set<() => void>;
      const [begin] = own as unknown as [() => void];
      own.delete(begin);
      if (own.size === 0) this.#waiting.delete(tenant);
      begin();
    }
  }

  /**
   * Among the tenants that may have one more turn: the one with the fewest turns, then the one whose latest
   * turn is longest ago.
   */
  #tenantInTurn(): string | undefined {
    let best: { readonly tenant: string; readonly working: number; readonly latest: number } | undefined;
    for (const tenant of this.#waiting.keys()) {
      const [working, latest] = [this.#workingOf(tenant), this.#latest.get(tenant) ?? 0];
      if (working >= this.#mostOf(tenant)) continue;
      const isBefore =
        best === undefined || working < best.working || (working === best.working && latest < best.latest);
      if (isBefore) best = { tenant, working, latest };
    }
    return best?.tenant;
  }

  #mostOf(tenant: string): number {
    const { atOnce, perTenant } = this.#limits;
    const isLast = this.#last === undefined || this.#last.tenant === tenant;
    const otherAtMs = isLast ? this.#otherAtMs : (this.#last?.atMs ?? 0);
    return this.#nowMs() - otherAtMs < LATELY_MS ? perTenant : atOnce;
  }

  #forget(tenant: string): void {
    if (!this.#waiting.has(tenant) && !this.#working.has(tenant)) this.#latest.delete(tenant);
  }

  #workingOf(tenant: string): number {
    return this.#working.get(tenant) ?? 0;
  }
}
