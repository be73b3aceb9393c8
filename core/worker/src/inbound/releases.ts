/**
 * Fans out held copies whose reader did not deliver its own in time (see readers.ts), and deletes old copies.
 */
import { dueCopies, pruneSharedEvents, releaseCopies } from "@linkspan/store";
import { sleep, systemClock } from "@linkspan/time";
import type { Core } from "../core.ts";

const LOOK_MS = 1_000;
const AT_ONCE = 500;
/** How long copies are kept for comparison: longer than the usual outage of a daemon or a network. */
const KEEP_DAYS = 7;
const PRUNE_EVERY_MS = 60_000;
const PRUNE_AT_ONCE = 5_000;

/** Runs until aborted; waits during database outages. */
export async function runReleases(core: Core, signal: AbortSignal): Promise<void> {
  let pruneAt = 0;
  while (!signal.aborted) {
    let more = false;
    try {
      more = (await releaseDue(core)) === AT_ONCE;
      if (core.now().getTime() >= pruneAt) {
        const pruned = await pruneSharedEvents(core.database.pool, KEEP_DAYS, PRUNE_AT_ONCE);
        if (pruned < PRUNE_AT_ONCE) pruneAt = core.now().getTime() + PRUNE_EVERY_MS;
      }
    } catch (error) {
      core.log.warn(
        { event: "releases.waiting", err: error },
        "held events could not be checked; tried again soon",
      );
    }
    if (!more) await sleep(systemClock, LOOK_MS, signal);
  }
}

/** @returns how many copies were due, 500 at most */
export async function releaseDue(core: Core): Promise<number> {
  const due = await core.database.transaction(async (client) => {
    const ids = await dueCopies(client, AT_ONCE);
    await releaseCopies(client, ids);
    return ids.length;
  });
  if (due === 0) return 0;
  core.wakes.local("unsequenced");
  core.log.info(
    { event: "events.released", count: due },
    "the reading account did not deliver events that other accounts delivered",
  );
  return due;
}
