/**
 * Failed authentications per address, in fixed windows and bounded memory.
 *
 * A blocked address may still use tokens that were good a moment ago: behind a proxy everybody has one
 * address, and one guesser must not lock the others out.
 */
export interface FailureLimits {
  /** Failures of one address in one window before it is blocked. */
  readonly failures: number;
  readonly windowMs: number;
  /** Addresses, and good tokens, remembered at most; the oldest are forgotten. */
  readonly remembered: number;
}

const LIMITS: FailureLimits = { failures: 20, windowMs: 60_000, remembered: 10_000 };

interface Window {
  readonly endsAtMs: number;
  failures: number;
}

export class AuthFailures {
  readonly #limits: FailureLimits;
  readonly #windows = new Map<string, Window>();
  readonly #good = new Map<string, true>();

  constructor(limits: FailureLimits = LIMITS) {
    this.#limits = limits;
  }

  /** @returns how long this address must wait, milliseconds; 0 when it may try */
  blockedMs(address: string, tokenHash: string | undefined, nowMs: number): number {
    const window = this.#windows.get(address);
    if (window === undefined || window.endsAtMs <= nowMs || window.failures < this.#limits.failures) return 0;
    if (tokenHash !== undefined && this.#good.has(tokenHash)) return 0;
    return window.endsAtMs - nowMs;
  }

  failed(address: string, tokenHash: string | undefined, nowMs: number): void {
    if (tokenHash !== undefined) this.#good.delete(tokenHash);
    const known = this.#windows.get(address);
    if (known !== undefined && known.endsAtMs > nowMs) {
      known.failures += 1;
      return;
    }
    remember(
      this.#windows,
      address,
      { endsAtMs: nowMs + this.#limits.windowMs, failures: 1 },
      this.#limits.remembered,
    );
  }

  succeeded(tokenHash: string): void {
    remember(this.#good, tokenHash, true, this.#limits.remembered);
  }
}

/** A map keeps its insertion order: the first key is the oldest. */
function remember<V>(map: Map<string, V>, key: string, value: V, most: number): void {
  map.delete(key);
  map.set(key, value);
  const oldest = map.size > most ? map.keys().next().value : undefined;
  if (oldest !== undefined) map.delete(oldest);
}
