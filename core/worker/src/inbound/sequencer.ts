/**
 * Gives committed events their positions. It runs whenever something was committed here, and looks by
 * itself twice a second for what other processes committed.
 */
import { setTimeout as pause } from "node:timers/promises";
import { advancePositions } from "@linkspan/store";
import type { Core } from "../core.ts";
import { fanOut } from "./fan-out.ts";

const LOOK_MS = 500;
/** Rows that committed while an older transaction was still open become final soon after. */
const SOON_MS = 10;
const SOON_TIMES = 20;
/** Commits of one such moment are numbered together. */
const TOGETHER_MS = 5;

/** Runs until aborted; database outages are waited out. */
export async function runSequencer(core: Core, signal: AbortSignal): Promise<void> {
  let pending = 0;
  core.wakes.on("unsequenced", () => (pending = SOON_TIMES), signal);
  while (!signal.aborted) {
    try {
      const given = await advancePositions(core.database);
      if (given !== undefined) {
        await core.wakes.everywhere(core.database.pool, "positions");
        await fanOut(core, given.position - given.count, given.position);
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
