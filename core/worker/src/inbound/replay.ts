/**
 * Replay: sends committed events again, to one named subscriber on the bus, each as a `fanout` note that
 * carries the stored envelope and a marker. No other subscriber sees it and nothing is recorded again.
 *
 * A subscriber `archive` listens for `bridge/core/archive/fanout`.
 */
import { randomUUID } from "node:crypto";
import { type FabricError, isFabricError } from "@linkspan/envelopes";
import { audit, lastPosition, readEvents, type StoredEvent } from "@linkspan/store";
import type { Core } from "../core.ts";
import { fanOutNote } from "./fan-out.ts";

export interface ReplayRequest {
  readonly workspaceId: string;
  /** As an instance in a topic. */
  readonly subscriber: string;
  /** First position, inclusive. */
  readonly from: number;
  /** Last position, inclusive. Default: the newest. */
  readonly to?: number;
  readonly actor: string;
}

export interface Replayed {
  readonly count: number;
  /** Events that leave no space for the note around them. */
  readonly skipped: number;
  /** In every note of this replay. */
  readonly marker: string;
  /** Position to continue from, when there was more than one call sends. */
  readonly next?: number;
}

const MOST = 10_000;
const PAGE = 50;

/** @throws FabricError `bus.unroutable` when the subscriber does not listen, `bus.unavailable`, `store.unavailable` */
export async function replayEvents(core: Core, request: ReplayRequest): Promise<Replayed> {
  const { workspaceId, subscriber, from, actor } = request;
  const to = request.to ?? (await lastPosition(core.database));
  const marker = `replay-${randomUUID()}`;
  const subject = `subscriber:${subscriber}`;
  // The audit entry is written first: an event must not be sent without it.
  await audit(core.database.pool, {
    workspaceId,
    actor,
    action: "events.replayed",
    subject,
    detail: { from, to, marker },
  });
  let count = 0;
  let skipped = 0;
  let after = from - 1;
  for (;;) {
    const page = await readEvents(core.database.pool, { workspaceId, after, limit: PAGE });
    for (const event of page) {
      if (event.position > to) return { count, skipped, marker };
      if (count + skipped === MOST) return { count, skipped, marker, next: event.position };
      if (await publishAgain(core, event, subscriber, marker)) count += 1;
      else skipped += 1;
      after = event.position;
    }
    if (page.length < PAGE) return { count, skipped, marker };
  }
}

/** Publishes one after the other, each confirmed, so that they arrive in the order of positions. */
async function publishAgain(
  core: Core,
  event: StoredEvent,
  subscriber: string,
  marker: string,
): Promise<boolean> {
  try {
    await core.bus.publish(fanOutNote(core, event, subscriber, marker));
    return true;
  } catch (error) {
    if (isFabricError(error) && isTooMuch(error)) {
      core.log.warn(
        { event: "replay.skipped", position: event.position, code: error.code },
        "an event leaves no space for the note around it",
      );
      return false;
    }
    throw error;
  }
}

/**
 * Whether the event is too large or too deeply nested with the note around it, or is a foreign envelope that
 * is not canonical.
 */
function isTooMuch({ code }: FabricError): boolean {
  return code.startsWith("envelope.");
}
