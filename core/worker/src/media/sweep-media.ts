/** Deletes media that is older than the retention, uploads that were abandoned, and what a killed process left. */
import { dropAgedMedia, droppedMedia, latestTime } from "@linkspan/store";
import type { Core } from "../core.ts";
import { mediaOf } from "./media.ts";
import { deleteMedia } from "./store-media.ts";

const PAGE = 200;
const DAY_MS = 86_400_000;
/** An upload without any byte for this long has no process any more. */
const ABANDONED_MS = 3_600_000;

/**
 * Runs at any number of processes at once; every step is one that a later sweep repeats.
 *
 * @param days how long media is kept after its last upload
 * @returns how many objects were deleted
 */
export async function sweepMedia(core: Core, days: number, stopping?: AbortSignal): Promise<number> {
  const { pool } = core.database;
  const now = Math.min(core.now().getTime(), (await latestTime(core.database)).getTime());
  const ages = [
    ["writing", new Date(now - ABANDONED_MS)],
    ["stored", new Date(now - days * DAY_MS)],
  ] as const;
  for (const [state, before] of ages) {
    while (stopping?.aborted !== true && (await dropAgedMedia(pool, state, before, PAGE)) === PAGE);
  }
  let deleted = 0;
  let after = "";
  while (stopping?.aborted !== true) {
    const page = await droppedMedia(pool, after, PAGE);
    for (const { object, workspace_id } of page) {
      if (await deleteMedia(core, workspace_id, object)) deleted += 1;
    }
    const last = page.at(-1);
    if (last === undefined) break;
    after = last.object;
  }
  const left = await mediaOf(core).store.sweep(new Date(now - ABANDONED_MS));
  if (deleted + left > 0)
    core.log.info({ event: "media.deleted", objects: deleted, unfinished: left }, "deleted media");
  return deleted;
}
