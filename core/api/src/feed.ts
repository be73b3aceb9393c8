/**
 * Reading the event log for others: by committed position only, in pages small enough to hold in memory,
 * woken when positions are given and looking by itself now and then.
 */
import { readEvents, type StoredEvent } from "@linkspan/store";
import type { Core } from "@linkspan/worker";

/** A body has up to 1 MiB, so this many are held at once at most. */
const PAGE = 50;
/** A lost wake-up costs at most this. */
const LOOK_MS = 2_000;
/** An answer ends, early, when it has this much. */
const MAX_ANSWER_BYTES = 8 * 1_048_576;

export interface Cursor {
  readonly workspaceId: string;
  /** Exclusive. */
  readonly after: number;
}

/** Up to `limit` events, fewer when they are large; at least one if there is one. */
export async function readPage(core: Core, cursor: Cursor, limit: number): Promise<StoredEvent[]> {
  const events: StoredEvent[] = [];
  let bytes = 0;
  while (events.length < limit && bytes < MAX_ANSWER_BYTES) {
    const want = Math.min(PAGE, limit - events.length);
    const after = events.at(-1)?.position ?? cursor.after;
    const page = await readEvents(core.database.pool, { ...cursor, after, limit: want });
    for (const event of page) {
      if (bytes >= MAX_ANSWER_BYTES) break;
      events.push(event);
      bytes += event.body.length;
    }
    if (page.length < want) break;
  }
  return events;
}

/** As {@link readPage}; when there is nothing, waits for something until the signal aborts. */
export async function awaitPage(
  core: Core,
  cursor: Cursor,
  limit: number,
  signal: AbortSignal,
): Promise<StoredEvent[]> {
  let woken = true;
  core.wakes.on("positions", () => (woken = true), signal);
  for (;;) {
    woken = false;
    const events = await readPage(core, cursor, limit);
    if (events.length > 0 || signal.aborted) return events;
    if (!woken) await core.wakes.wait("positions", LOOK_MS, signal);
  }
}

/**
 * Events for good, one at a time: the next is read when the one before was taken.
 *
 * @param idleMs yields undefined when nothing happened for so long
 */
export async function* follow(
  core: Core,
  cursor: Cursor,
  idleMs: number,
  signal: AbortSignal,
): AsyncGenerator<StoredEvent | undefined, void> {
  let after = cursor.after;
  while (!signal.aborted) {
    const idle = AbortSignal.any([signal, AbortSignal.timeout(idleMs)]);
    const events = await awaitPage(core, { ...cursor, after }, PAGE, idle);
    for (const event of events) {
      if (signal.aborted) return;
      yield event;
      after = event.position;
    }
    if (events.length === 0 && !signal.aborted) yield undefined;
  }
}
