/** Pages of the event log: by committed position only, each bounded in events and bytes. */
import { readEvents, type StoredEvent } from "@linkspan/store";
import type { Core } from "@linkspan/worker";
import type { Feed } from "./feed.ts";

export interface Cursor {
  readonly workspaceId: string;
  /** Exclusive. */
  readonly after: number;
}

export interface PageSize {
  readonly limit: number;
  /** The page ends with the event that reaches it; a single event may have up to 1 MiB. */
  readonly maxBytes: number;
}

export type ReadPage = (cursor: Cursor, size: PageSize) => Promise<readonly StoredEvent[]>;

/**
 * Readers at the same cursor at the same moment share one statement and one copy of the page. They do not
 * share a read that began before a wake-up, because it may lack the announced events.
 */
export function sharedPages(core: Core, feed: Feed): ReadPage {
  const reading = new Map<string, Promise<readonly StoredEvent[]>>();
  return ({ workspaceId, after }, { limit, maxBytes }) => {
    const key = `${workspaceId} ${after} ${limit} ${maxBytes} ${feed.version}`;
    const known = reading.get(key);
    if (known !== undefined) return known;
    const page = readEvents(core.database.pool, { workspaceId, after, limit, maxBytes }).finally(() =>
      reading.delete(key),
    );
    reading.set(key, page);
    return page;
  };
}

/** Reads a page; when it is empty, waits for events until the signal aborts. */
export async function awaitPage(
  feed: Feed,
  read: () => Promise<readonly StoredEvent[]>,
  workspaceId: string,
  signal: AbortSignal,
): Promise<readonly StoredEvent[]> {
  for (;;) {
    const watch = feed.watch(workspaceId);
    try {
      const events = await read();
      if (events.length > 0 || signal.aborted) return events;
      await watch.wait(signal);
      if (signal.aborted) return [];
    } finally {
      watch.end();
    }
  }
}

/**
 * Reads a page, and tells how far the log was read for it.
 *
 * @returns `upTo`: the position of its last event; when there are no more, that of the newest event that was
 *   checked
 */
export async function readOn(
  feed: Feed,
  readPage: ReadPage,
  cursor: Cursor,
  size: PageSize,
): Promise<{ readonly page: readonly StoredEvent[]; readonly upTo: number }> {
  const { position = 0 } = feed;
  const page = await readPage(cursor, size);
  const last = page.at(-1)?.position ?? cursor.after;
  const isFull = page.length >= size.limit || bytesOf(page) >= size.maxBytes;
  return { page, upTo: isFull ? last : Math.max(last, position) };
}

export function bytesOf(page: readonly StoredEvent[]): number {
  return page.reduce((sum, { body }) => sum + body.length, 0);
}
