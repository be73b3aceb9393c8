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
