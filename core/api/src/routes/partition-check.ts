/** Checks that every partition has an owner that reads it. */
import { orphanPartitions } from "@linkspan/store";
import type { Core } from "@linkspan/worker";
import type { ReadinessCheck } from "../context.ts";

/** A partition that moves, or whose owner was killed, has no owner for some seconds. */
const PATIENCE_MS = 15_000;

/** Not ok once a partition had no owner at every check for longer than a move takes. */
export function partitionCheck(core: Core, nowMs: () => number = () => performance.now()): ReadinessCheck {
  const since = new Map<number, number>();
  return {
    name: "partitions",
    scope: "instance",
    help: "no core worker takes in a part of what arrives; GET /v1/health names it",
    check: async () => {
      const orphans = await orphanPartitions(core.database.pool, core.namespace.name);
      const now = nowMs();
      for (const partition of since.keys()) if (!orphans.includes(partition)) since.delete(partition);
      for (const partition of orphans) if (!since.has(partition)) since.set(partition, now);
      const deaf = orphans.filter((partition) => now - (since.get(partition) ?? now) > PATIENCE_MS);
      if (deaf.length === 0) return { ok: true, detail: "every partition is taken in" };
      const named = deaf.map((partition) => `p${String(partition).padStart(2, "0")}`).join(", ");
      return { ok: false, detail: `nobody takes in ${named}; see "partition.not_taken" in the logs` };
    },
  };
}
