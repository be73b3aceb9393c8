/** Timed work. Due times live in rows; a job is only the wake-up that looks at them. */
import {
  audit,
  deleteAged,
  dequeue,
  dropPartitions,
  endPendingIdentities,
  ensurePartitions,
  expireAuthSessions,
  expiredIntents,
  lockIntent,
  moveIntent,
  type Partitioned,
} from "@linkspan/store";
import type { Core } from "./core.ts";
import { mayMove } from "./outbound/states.ts";

/** Ends intents that are past their time and were never attempted. @returns how many */
export async function sweepExpired(core: Core): Promise<number> {
  const due = await expiredIntents(core.database.pool, 500);
  for (const { id } of due) {
    await core.database.transaction(async (client) => {
      const intent = await lockIntent(client, id);
      if (intent === undefined || !mayMove(intent.state, "expired") || intent.part > 0) return;
      await moveIntent(client, id, { state: "expired", code: "envelope.expired" });
      await dequeue(client, id);
      await audit(client, {
        workspaceId: intent.workspace_id,
        actor: "core",
        action: "intent.expired",
        subject: id,
      });
      await core.wakes.everywhere(client, "outbox");
    });
  }
  return due.length;
}

/** Ends link sessions after their 15 minutes, and what they left half made. @returns how many sessions */
export async function sweepSessions(core: Core): Promise<number> {
  return core.database.transaction(async (client) => {
    const ended = await expireAuthSessions(client);
    for (const { id, workspace_id } of ended) {
      await audit(client, {
        workspaceId: workspace_id,
        actor: "core",
        action: "session.expired",
        subject: id,
      });
    }
    for (const { id, workspace_id } of await endPendingIdentities(client)) {
      await audit(client, {
        workspaceId: workspace_id,
        actor: "core",
        action: "identity.abandoned",
        subject: id,
      });
    }
    return ended.length;
  });
}

export interface Retention {
  /** How long events, intents and what belongs to them are kept, days. */
  readonly days: number;
  /** How long audit entries are kept, days; default for good. */
  readonly auditDays?: number | undefined;
}

/** Makes the months ahead. Cheap when they are there, so it runs often: a clock may jump. */
export async function sweepMonths(core: Core): Promise<void> {
  const made = await ensurePartitions(core.database, core.now());
  if (made.length > 0) core.log.info({ event: "months.made", partitions: made }, "new months are ready");
}

/** Removes what is older than the retention. What is in use now goes with a later sweep. */
export async function sweepRetention(
  core: Core,
  retention: Retention,
  stopping?: AbortSignal,
): Promise<void> {
  const before = (days: number) => new Date(core.now().getTime() - days * DAY_MS);
  const months: [Partitioned, number | undefined][] = [
    ["events", retention.days],
    ["intent_steps", retention.days],
    ["audit_entries", retention.auditDays],
  ];
  for (const [table, days] of months) {
    if (days === undefined) continue;
    try {
      const dropped = await dropPartitions(core.database, table, before(days));
      if (dropped.length > 0)
        core.log.info({ event: "retention.dropped", partitions: dropped }, "old months are gone");
    } catch (error) {
      core.log.warn({ event: "retention.waiting", table, err: error }, "old months go with a later sweep");
    }
  }
  const deleted = await deleteAged(core.database, before(retention.days), stopping);
  if (Object.keys(deleted).length > 0)
    core.log.info({ event: "retention.deleted", rows: deleted }, "old rows are gone");
}

const DAY_MS = 86_400_000;
