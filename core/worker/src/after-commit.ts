/** Work of a transaction that is done after its commit: wake-ups, metrics, log lines. */
import type { Queryable } from "@linkspan/store";
import type { Core } from "./core.ts";
import type { Wake } from "./wakes.ts";

export interface AfterCommit {
  readonly wakes: Set<Wake>;
  /** Metrics and log lines; they report only committed changes. */
  readonly reports: (() => void)[];
}

/**
 * Commits the changes of `work`, then does the work that it left. @throws what `work` throws; then nothing is
 * committed and nothing is done
 */
export async function committed<T>(
  core: Core,
  work: (on: Queryable, after: AfterCommit) => Promise<T>,
): Promise<T> {
  const after: AfterCommit = { wakes: new Set(), reports: [] };
  const result = await core.database.transaction((client) => work(client, after));
  for (const wake of after.wakes) core.wakes.announce(wake);
  for (const report of after.reports) report();
  return result;
}
