import type { Random } from "./clock.ts";

export interface Backoff {
  readonly minMs: number;
  readonly maxMs: number;
}

/** Doubles with every failure up to the cap; the upper half of it is drawn, so that peers spread out. */
export function backoffMs({ minMs, maxMs }: Backoff, failures: number, random: Random): number {
  const full = Math.min(maxMs, minMs * 2 ** Math.min(failures - 1, 30));
  return full * (0.5 + random() / 2);
}

/** How long failures are borne. */
export interface Patience {
  /** Between tries of a batch, and while the surroundings fail. */
  readonly outage: Backoff;
  /** Between tries of a message that fails alone. */
  readonly alone: Backoff;
  /** Tries of one message alone before an unknown error counts as its own fault. */
  readonly loneTries: number;
}

/** An unknown fault of less than half a minute kills nothing. */
export const DEFAULT_PATIENCE: Patience = {
  outage: { minMs: 50, maxMs: 5_000 },
  alone: { minMs: 500, maxMs: 30_000 },
  loneTries: 8,
};
