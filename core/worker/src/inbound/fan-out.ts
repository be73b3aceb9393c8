/**
 * Publishes committed events to subscribers on the bus, as `bridge/core/fanout` notes in the order of
 * positions. Delivery is not guaranteed: a note is not mandatory and expires after a minute. A subscriber
 * that missed one reads on by cursor or asks for a replay.
 */
import { isFabricError, noteId, PRIMARY } from "@linkspan/envelopes";
import type { Outgoing } from "@linkspan/fabric";
import { readEventsBetween, type StoredEvent } from "@linkspan/store";
import { within } from "@linkspan/time";
import type { Core } from "../core.ts";
import { CORE, outgoing } from "../send.ts";

const TTL_MS = 60_000;

/** Most events of one page, and most bytes that wait for the broker; a single event may have more bytes. */
const PAGE = 100;
const PAGE_BYTES = 1_048_576;
/** Confirm timeout. After it, notes are dropped; their subscribers read on by cursor. */
const CONFIRM_MS = 5_000;
/** When it is further behind than this, the oldest notes are left out. */
const MOST_BEHIND = 10_000;

/**
 * Publishes notes in parallel with the sequencer, a page at a time; a slow or silent broker never delays the
 * numbering.
 */
export class FanOut {
  readonly #core: Core;
  readonly #signal: AbortSignal;
  #after = 0;
  #upTo = 0;
  #running = false;

  constructor(core: Core, signal: AbortSignal) {
    this.#core = core;
    this.#signal = signal;
  }

  /**
   * Soon publishes notes for all positions in (after, upTo]; does nothing when the namespace has no fan-out.
   */
  offer(after: number, upTo: number): void {
    if (!this.#core.namespace.fanOut) return;
    if (!this.#running) this.#after = after;
    this.#upTo = upTo;
    if (!this.#running) void this.#run();
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    this.#running = true;
    while (this.#after < this.#upTo && !this.#signal.aborted) {
      this.#leaveOut(Math.max(this.#after, this.#upTo - MOST_BEHIND), "fell behind");
      const range = { after: this.#after, upTo: this.#upTo, limit: PAGE, maxBytes: PAGE_BYTES };
      try {
        const page = await readEventsBetween(this.#core.database.pool, range);
        this.#after = page.at(-1)?.position ?? range.upTo;
        if (!(await this.#publish(page))) this.#leaveOut(this.#upTo, "the broker confirms nothing");
      } catch (error) {
        this.#core.log.warn(
          { event: "fanout.unread", err: error },
          "events could not be read; their notes are left out",
        );
        this.#leaveOut(range.upTo, "the log could not be read");
      }
    }
    this.#running = false;
  }

  #leaveOut(upTo: number, why: string): void {
    if (upTo <= this.#after) return;
    this.#core.log.warn(
      { event: "fanout.left_out", after: this.#after, up_to: upTo, why },
      "notes were left out",
    );
    this.#after = upTo;
  }

  /** @returns whether the broker confirmed all of them in time */
  async #publish(page: readonly StoredEvent[]): Promise<boolean> {
    return within(CONFIRM_MS, Promise.all(page.map((event) => publishNote(this.#core, event))));
  }
}

/** Never rejects. */
async function publishNote(core: Core, event: StoredEvent): Promise<void> {
  const { position } = event;
  try {
    const note = fanOutNote(core, event, PRIMARY);
    await core.bus.publish({ ...note, mandatory: false, ttlMs: TTL_MS });
  } catch (error) {
    const skipped = isFabricError(error) && error.code.startsWith("envelope.");
    const what = skipped ? "fanout.skipped" : "fanout.dropped";
    core.log.debug({ event: what, position, err: error }, "a note was not delivered");
  }
}

/**
 * @param subscriber as an instance in a topic; `primary` is every subscriber of live events
 * @param marker names a replay; absent on live events
 * @throws FabricError `envelope.*` for an event that leaves no space for the note around it
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
