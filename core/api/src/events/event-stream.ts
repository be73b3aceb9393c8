/** Server-sent events (WHATWG): one per event of the log, its id the position to resume from. */
import { type ErrorCode, isFabricError } from "@linkspan/envelopes";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Context } from "../context.ts";
import { sendAsIs } from "../send-as-is.ts";
import { eventJson } from "../views.ts";
import { Frames } from "./frames.ts";
import { bytesOf, type Cursor, readOn } from "./pages.ts";
import type { Readers } from "./readers.ts";

export const STREAM_TYPE = "text/event-stream";

/** Proxies close silent connections. */
const HEARTBEAT_MS = 15_000;
const RECONNECT_MS = 1_000;
/** Most events and bytes of one stream in memory; a single event may have more. */
const PAGE = { limit: 50, maxBytes: 262_144 } as const;
/** Time for sending the last frame to a reader that reads again. */
const PARTING_MS = 5_000;

/**
 * Streams until the client disconnects, its token is revoked or the server stops. When a client does not
 * read, the stream stops reading the log, and after a while it sends the reason and ends. The client resumes
 * by itself, as after a database outage that ended its stream.
 *
 * @throws FabricError `request.rate_limited` when the token, the workspace or the process has too many
 */
export function sendStream<R extends Pick<FastifyReply, "raw" | "header">>(
  context: Context,
  request: FastifyRequest,
  reply: R,
  cursor: Cursor,
): R {
  const { readers } = context;
  const place = readers.enter(request);
  const left = new AbortController();
  const ended = context.metrics.streaming();
  reply.raw.once("close", () => {
    left.abort();
    place.leave();
    ended();
  });
  reply.header("x-accel-buffering", "no");
  // The connection is used only by this stream, so that nothing waits to use it again.
  reply.header("connection", "close");
  const frames = new Frames();
  const signal = AbortSignal.any([left.signal, context.stopping, place.revoked]);
  void stream(readers, cursor, frames, signal).then((why) => {
    if (why !== undefined) context.core.log.info({ event: "stream.ended", code: why.code }, why.detail);
    frames.end(place.revoked.aborted ? lastFrame(REVOKED) : why && lastFrame(why));
    if (!left.signal.aborted) setTimeout(() => reply.raw.destroy(), PARTING_MS).unref();
  });
  return sendAsIs(reply, STREAM_TYPE, frames);
}

interface Ending {
  readonly code: ErrorCode;
  readonly detail: string;
}

const REVOKED: Ending = { code: "request.unauthorized", detail: "the token was revoked" };
const SLOW: Ending = {
  code: "request.rate_limited",
  detail: "the stream was not read; resume after the last event's id",
};

/** @returns why it ended, unless the client or the server ended it; never rejects */
async function stream(
  readers: Readers,
  cursor: Cursor,
  frames: Frames,
  signal: AbortSignal,
): Promise<Ending | undefined> {
  try {
    const taken = await follow(readers, cursor, (frame) => frames.put(frame, readers.slowReaderMs), signal);
    return taken || signal.aborted ? undefined : SLOW;
  } catch (error) {
    if (signal.aborted) return undefined;
    return isFabricError(error)
      ? { code: error.code, detail: error.message }
      : { code: "internal", detail: "an unexpected fault" };
  }
}

/**
 * Reads the log at the start, and again only when the feed reports new events.
 *
 * @returns whether all was received until the signal aborted
 */
async function follow(
  readers: Readers,
  { workspaceId, after: from }: Cursor,
  put: (frame: string) => Promise<boolean>,
  signal: AbortSignal,
): Promise<boolean> {
  let after = from;
  let mayHaveMore = true;
  let watch = readers.feed.watch(workspaceId);
  try {
    if (!(await put(`retry: ${RECONNECT_MS}\n\n`))) return false;
    while (!signal.aborted) {
      if (!mayHaveMore) await watch.wait(AbortSignal.any([signal, AbortSignal.timeout(HEARTBEAT_MS)]));
      if (!mayHaveMore && !watch.changed) {
        if (!signal.aborted && !(await put(":\n\n"))) return false;
        continue;
      }
      watch.end();
      watch = readers.feed.watch(workspaceId);
      const held = await readers.bytes.take(workspaceId, PAGE.maxBytes, signal);
      try {
        const { page, upTo } = await readOn(readers.feed, readers.readPage, { workspaceId, after }, PAGE);
        held.resize(bytesOf(page));
        for (const event of page) {
          if (!(await put(`id: ${event.position}\ndata: ${eventJson(event)}\n\n`))) return false;
        }
        after = upTo;
        mayHaveMore = page.length > 0;
      } finally {
        held.release();
      }
    }
    return true;
  } finally {
    watch.end();
  }
}

/** An event with a name of its own, so that a handler of log events does not process it. */
function lastFrame({ code, detail }: Ending): string {
  return `event: end\ndata: ${JSON.stringify({ code, detail })}\n\n`;
}
