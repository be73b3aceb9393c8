/**
 * Committed events to subscribers on the bus, as `bridge/core/fanout` notes in the order of positions. A note
 * is promised nothing: it is not mandatory and dies after a minute, and who missed one reads on by cursor
 * or asks for a replay.
 */
import { isFabricError, noteId, PRIMARY } from "@linkspan/envelopes";
import type { Outgoing } from "@linkspan/fabric";
import { readEventsBetween, type StoredEvent } from "@linkspan/store";
import type { Core } from "../core.ts";
import { CORE, outgoing } from "../send.ts";

const TTL_MS = 60_000;

/** Notes for everything in (after, upTo]; does nothing where the namespace has no fan-out. */
export async function fanOut(core: Core, after: number, upTo: number): Promise<void> {
  if (!core.namespace.fanOut) return;
  for (const event of await readEventsBetween(core.database.pool, after, upTo)) {
    try {
      const note = fanOutNote(core, event, PRIMARY);
      core.bus.publish({ ...note, mandatory: false, ttlMs: TTL_MS }).catch((error: unknown) => {
        core.log.debug(
          { event: "fanout.dropped", position: event.position, err: error },
          "a note was not delivered",
        );
      });
    } catch (error) {
      if (!isFabricError(error)) throw error;
      core.log.warn(
        { event: "fanout.skipped", position: event.position, code: error.code },
        "a note cannot be made",
      );
    }
  }
}

/**
 * @param subscriber as an instance in a topic; `primary` is everyone who listens to live events
 * @param marker names a replay; absent on live events
 * @throws FabricError `envelope.*` for an event that leaves no room for the note around it
 */
export function fanOutNote(core: Core, event: StoredEvent, subscriber: string, marker?: string): Outgoing {
  return outgoing(core, {
    service: CORE,
    instance: subscriber,
    action: "fanout",
    workspaceId: event.workspaceId,
    messageId: noteId(CORE, "fanout", `${subscriber} ${marker ?? "live"} ${event.position}`),
    payload: {
      event: event.position,
      ...(marker !== undefined && { marker }),
      ...(event.senderIdentity !== undefined && { sender_identity: event.senderIdentity }),
      envelope: JSON.parse(event.body.toString("utf8")) as Record<string, unknown>,
    },
  });
}
