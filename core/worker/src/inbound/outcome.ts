/** What a batch leaves to be done once it is committed. */
import type { Wake } from "../wakes.ts";
import type { Acked } from "./acks.ts";

export interface Outcome {
  readonly acks: Acked[];
  readonly wakes: Set<Wake>;
  /** Metrics and log lines; they tell only what was committed. */
  readonly reports: (() => void)[];
}

export function newOutcome(): Outcome {
  return { acks: [], wakes: new Set(), reports: [] };
}
