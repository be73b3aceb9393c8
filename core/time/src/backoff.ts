import type { Random } from "./clock.ts";

export interface Backoff {
  readonly minMs: number;
  readonly maxMs: number;
}

/**
 * Doubles with every failure up to the cap; the upper half of it is random, so that peers do not retry at the same time.
 *
 * @param failures counted from 1
 */
export function backoffMs({ minMs, maxMs }: Backoff, failures: number, random: Random = Math.random): number {
  const full = Math.min(maxMs, minMs * 2 ** Math.min(failures - 1, 30));
  return full * (0.5 + random() / 2);
}
