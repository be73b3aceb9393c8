/**
 * Whose work is done next: a bounded number at once, a bounded part of it for one tenant, and tenants in turn. Who
 * asks for much waits behind itself; who asks for little waits for one turn of others at most.
 */
export interface TurnLimits {
  /** Turns at once, of all tenants together. */
  readonly atOnce: number;
  /** Turns at once of one tenant while another one had a turn lately; one that is alone may have all. */
  readonly perTenant: number;
}

/** How long a tenant is remembered to be there, milliseconds. */
const LATELY_MS = 10_000;

export class FairTurns {
  readonly #limits: TurnLimits;
  /** Those that wait, by tenant, each in the order in which they asked. */
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #working = new Map<string, number>();
  /** When a tenant that works or waits began its latest turn, counted in turns. */
  readonly #latest = new Map<string, number>();
  /** Whose turn began last, and when. */
  #last: { readonly tenant: string; readonly atMs: number } | undefined;
  /** When a turn of any other tenant began last. */
  #otherAtMs = Number.NEGATIVE_INFINITY;
  #begun = 0;
  #count = 0;
  readonly #nowMs: () => number;

  /** @param nowMs a clock that never goes back */
  constructor(limits: TurnLimits, nowMs: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#nowMs = nowMs;
  }

  /** Turns that are taken now. */
  get working(): number {
    return this.#count;
  }

  /**
   * The caller bounds how many of a tenant wait.
   *
   * @param signal aborted: it does not wait any more, and its turn is given to the next
   * @returns resolves at its turn, or when aborted, with a function that ends the turn; calling it again changes nothing
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

  /** Of those that may have one more: who has the fewest turns, then whose latest one is longest ago. */
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
