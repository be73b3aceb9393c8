/**
 * Gives committed events their positions. It runs whenever something was committed here, and looks by
 * itself twice a second for what other processes committed.
 */
import { advancePositions } from "@linkspan/store";
import type { Core } from "../core.ts";

const LOOK_MS = 500;
/** Rows that committed while an older transaction was still open become final soon after. */
const SOON_MS = 10;
const SOON_TIMES = 20;

/** Runs until aborted; database outages are waited out. */
export async function runSequencer(core: Core, signal: AbortSignal): Promise<void> {
  let pending = 0;
  core.wakes.on("unsequenced", () => (pending = SOON_TIMES), signal);
  while (!signal.aborted) {
    try {
      const position = await advancePositions(core.database);
      if (position !== undefined) {
        await core.wakes.everywhere(core.database.pool, "positions");
        continue;
      }
    } catch (error) {
      core.log.warn({ event: "sequencer.waiting", err: error }, "positions are given again soon");
    }
    pending = Math.max(0, pending - 1);
    await core.wakes.wait("unsequenced", pending > 0 ? SOON_MS : LOOK_MS, signal);
  }
}
