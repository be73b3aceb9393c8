export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  /** 0 to 1; `Math.random` unless a test sets it. */
  readonly random?: () => number;
}

/** Doubles from `firstMs` to `maxMs`; the upper half is random. `failures` counts from 1. */
export function backoffMs(
  failures: number,
  { firstMs, maxMs, random = Math.random }: BackoffOptions,
): number {
  const top = Math.min(maxMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return Math.round(top / 2 + (top / 2) * random());
}
