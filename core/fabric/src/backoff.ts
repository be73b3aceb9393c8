import type { Backoff } from "@linkspan/time";

export { type Backoff, backoffMs } from "@linkspan/time";

/** Conditions on which a message that fails alone with an unknown error is dead-lettered: see intake/proof.ts. */
export interface Proof {
  /** Failures, each after a success of another message. */
  readonly failures: number;
  /** From the first to the last of them. */
  readonly overMs: number;
}

/** How failures are borne. */
export interface Patience {
  /** Between tries of a batch, and while the surroundings fail. */
  readonly outage: Backoff;
  /** Between tries of a message that fails alone. */
  readonly alone: Backoff;
  readonly proof: Proof;
  /** Failures alone after which a message is reported as stuck; again at each doubling. */
  readonly reportAfter: number;
}

export const DEFAULT_PATIENCE: Patience = {
  outage: { minMs: 50, maxMs: 5_000 },
  alone: { minMs: 500, maxMs: 30_000 },
  proof: { failures: 50, overMs: 600_000 },
  reportAfter: 5,
};
