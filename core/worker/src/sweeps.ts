/** Timed work. Due times live in rows; a job is only the wake-up that looks at them. */
import {
  audit,
  dequeue,
  dropPartitions,
  ensurePartitions,
  expireAuthSessions,
  expiredIntents,
  lockIntent,
  moveIntent,
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

/** Ends link sessions after their 15 minutes. @returns how many */
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
    return ended.length;
  });
}

export interface Retention {
  /** How long bodies of events and steps of intents are kept, days. Audit entries are kept. */
  readonly days: number;
}

/** Makes the months ahead and drops those past the retention. */
export async function sweepPartitions(core: Core, retention: Retention): Promise<void> {
  await ensurePartitions(core.database, core.now());
  const before = new Date(core.now().getTime() - retention.days * 86_400_000);
  for (const table of ["events", "intent_steps"] as const) {
    const dropped = await dropPartitions(core.database, table, before);
    if (dropped.length > 0)
      core.log.info({ event: "retention.dropped", partitions: dropped }, "old months are gone");
  }
}
