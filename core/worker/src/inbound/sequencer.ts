/**
 * Gives committed events their positions. It runs whenever something was committed here, and looks by
 * itself twice a second for what other processes committed.
 */
import { setTimeout as pause } from "node:timers/promises";
import { advancePositions } from "@linkspan/store";
import type { Core } from "../core.ts";
import { FanOut } from "./fan-out.ts";

const LOOK_MS = 500;
/** What other processes commit in the same moment is looked for soon. */
const SOON_MS = 10;
const SOON_TIMES = 20;
/** Commits of one such moment are numbered together. */
const TOGETHER_MS = 5;

/** Runs until aborted; database outages are waited out. */
export async function runSequencer(core: Core, signal: AbortSignal): Promise<void> {
  const fanOut = new FanOut(core, signal);
  let pending = 0;
  core.wakes.on("unsequenced", () => (pending = SOON_TIMES), signal);
  while (!signal.aborted) {
    try {
      const given = await advancePositions(core.database);
      if (given?.moved === true) {
        core.log.warn(
          { event: "sequencer.resumed", position: given.position, count: given.count },
          "the database is another one than before (restore, failover or upgrade); numbering goes on in it",
        );
      }
      if (given !== undefined) {
        fanOut.offer(given.position - given.count, given.position);
        await core.wakes.everywhere(core.database.pool, "positions");
        await pause(TOGETHER_MS);
        continue;
      }
    } catch (error) {
      core.log.warn({ event: "sequencer.waiting", err: error }, "positions are given again soon");
    }
    pending = Math.max(0, pending - 1);
    await core.wakes.wait("unsequenced", pending > 0 ? SOON_MS : LOOK_MS, signal);
  }
}
