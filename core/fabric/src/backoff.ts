import type { Random } from "./clock.ts";

export interface Backoff {
  readonly minMs: number;
  readonly maxMs: number;
}

/** Doubles with every failure up to the cap; the upper half of it is random, so that peers do not retry at the same time. */
export function backoffMs({ minMs, maxMs }: Backoff, failures: number, random: Random): number {
  const full = Math.min(maxMs, minMs * 2 ** Math.min(failures - 1, 30));
  return full * (0.5 + random() / 2);
}

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
