/** Timed work. Due times are stored in rows; a job is only the wake-up that checks them. */
import {
  audit,
  deleteAged,
  dropPartitions,
  endPendingIdentities,
  ensurePartitions,
  expireAuthSessions,
  expiredIntents,
  type ExpiryCursor,
  latestTime,
  lockIntent,
  type Partitioned,
  unlinkedWithIntents,
} from "@linkspan/store";
import { committed } from "./after-commit.ts";
import type { Core } from "./core.ts";
import { endUnsettled } from "./identity/unlink.ts";
import { transition } from "./outbound/transition.ts";

/** How many rows a sweep reads at a time. */
const PAGE = 500;
/** Longest time of one sweep; the rest is done by the next one, milliseconds. */
const LONGEST_MS = 60_000;
/** How long after its window a part without a report becomes uncertain, milliseconds. */
const SILENCE_MS = 2 * 60_000;

/**
 * Ends intents whose time is over: waiting ones expire, partly sent ones fail, those in doubt become
 * uncertain. A row that cannot be settled is logged and skipped, so that it does not block others. Also ends
 * intents that an interrupted unlinking left open.
 *
 * @returns how many were ended
 */
export async function sweepExpired(core: Core): Promise<number> {
  for (const id of await unlinkedWithIntents(core.database.pool)) {
    await endUnsettled(core, id, "core");
  }
  const startedAt = performance.now();
  let ended = 0;
  let after: ExpiryCursor | undefined;
  do {
    const page = await expiredIntents(core.database.pool, { limit: PAGE, graceMs: SILENCE_MS, after });
    for (const { id } of page) if (await expire(core, id)) ended += 1;
    after = page.length === PAGE ? page.at(-1) : undefined;
  } while (after !== undefined && performance.now() - startedAt < LONGEST_MS);
  return ended;
}

async function expire(core: Core, id: string): Promise<boolean> {
  try {
    const ended = await committed(core, async (on, after) => {
      const intent = await lockIntent(on, id);
      const due = intent?.expires_at !== null && intent !== undefined && intent.expires_at <= core.now();
      if (!due) return undefined;
      const step = { to: "expired", actor: "core", code: "envelope.expired" } as const;
      return transition(core, on, after, intent, "expiry", step);
    });
    return ended !== undefined;
  } catch (error) {
    // If the database answers this query, the row caused the error; otherwise this throws and ends the sweep.
    await core.database.query("SELECT 1");
    core.log.error(
      { event: "intent.unswept", intent_id: id, err: error },
      "an expired intent could not be ended and was skipped",
    );
    return false;
  }
}

/**
 * Ends link sessions after their 15 minutes, and unlinks the identities that they would have linked.
 *
 * @returns how many sessions
 */
export async function sweepSessions(core: Core): Promise<number> {
  let count = 0;
  for (let page = PAGE; page === PAGE; count += page) {
    page = await core.database.transaction(async (client) => {
      const ended = await expireAuthSessions(client, PAGE);
      for (const { id, workspace_id } of ended) {
        const entry = { workspaceId: workspace_id, actor: "core", action: "session.expired", subject: id };
        await audit(client, entry);
      }
      for (const { id, workspace_id } of await endPendingIdentities(client)) {
        const entry = { workspaceId: workspace_id, actor: "core", action: "identity.abandoned", subject: id };
        await audit(client, entry);
      }
      return ended.length;
    });
  }
  return count;
}

export interface Retention {
  /** How long events, intents and their dependent rows are kept, days. */
  readonly days: number;
  /** How long audit entries are kept, days; by default they are never deleted. */
  readonly auditDays?: number | undefined;
}

/**
 * Creates the partitions of the coming months. This is cheap when they exist, so it runs often: a clock may
 * jump.
 */
export async function sweepMonths(core: Core): Promise<void> {
  const made = await ensurePartitions(core.database, core.now());
  if (made.length > 0) core.log.info({ event: "months.made", partitions: made }, "created coming partitions");
}

/**
 * Removes rows that are older than the retention. Rows that are in use now are removed by a later sweep. The
 * time that it takes as the present is never later than the database's clock or the newest row, so that a
 * wrong clock of one process cannot destroy data.
 */
export async function sweepRetention(
  core: Core,
  retention: Retention,
  stopping?: AbortSignal,
): Promise<void> {
  const now = Math.min(core.now().getTime(), (await latestTime(core.database)).getTime());
  const before = (days: number) => new Date(now - days * DAY_MS);
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
        core.log.info(
          { event: "retention.dropped", partitions: dropped },
          "dropped partitions of old months",
        );
    } catch (error) {
      core.log.warn(
        { event: "retention.waiting", table, err: error },
        "old months could not be dropped; a later sweep tries again",
      );
    }
  }
  const deleted = await deleteAged(core.database, before(retention.days), stopping);
  if (Object.keys(deleted).length > 0)
    core.log.info({ event: "retention.deleted", rows: deleted }, "deleted old rows");
}

const DAY_MS = 86_400_000;
