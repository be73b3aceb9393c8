/** Work of a batch that is done after its commit. */
import type { Wake } from "../wakes.ts";
import type { Acked } from "./acks.ts";

export interface Outcome {
  readonly acks: Acked[];
  readonly wakes: Set<Wake>;
  /** Metrics and log lines; they report only committed changes. */
  readonly reports: (() => void)[];
}

export function newOutcome(): Outcome {
  return { acks: [], wakes: new Set(), reports: [] };
}
