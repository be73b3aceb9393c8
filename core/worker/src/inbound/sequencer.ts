/**
 * Gives committed events their positions. It runs whenever this process committed an event, and checks twice
 * a second for events that other processes committed.
 */
import { setTimeout as pause } from "node:timers/promises";
import { advancePositions } from "@linkspan/store";
import type { Core } from "../core.ts";
import { FanOut } from "./fan-out.ts";

const LOOK_MS = 500;
/** Delay before it checks for events that other processes commit at the same moment. */
const SOON_MS = 10;
const SOON_TIMES = 20;
/** Commits within this time are numbered together. */
const TOGETHER_MS = 5;

/** Runs until aborted; waits during database outages. */
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
          "the database is another one than before (restore, failover or upgrade); numbering continues in it",
        );
      }
      if (given !== undefined) {
        fanOut.offer(given.position - given.count, given.position);
        await core.wakes.everywhere(core.database.pool, "positions");
        await pause(TOGETHER_MS);
        continue;
      }
    } catch (error) {
      core.log.warn(
        { event: "sequencer.waiting", err: error },
        "positions could not be given; tried again soon",
      );
    }
    pending = Math.max(0, pending - 1);
    await core.wakes.wait("unsequenced", pending > 0 ? SOON_MS : LOOK_MS, signal);
  }
}
