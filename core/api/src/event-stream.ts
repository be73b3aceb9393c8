/** Server-sent events (WHATWG): one per event of the log, its id the position to resume from. */
import { Readable } from "node:stream";
import { isFabricError } from "@linkspan/envelopes";
import type { FastifyReply } from "fastify";
import type { Context } from "./context.ts";
import { type Cursor, follow } from "./feed.ts";
import { sendAsIs } from "./send-as-is.ts";
import { eventJson } from "./views.ts";

export const STREAM_TYPE = "text/event-stream";

/** Proxies close what is silent. */
const HEARTBEAT_MS = 15_000;
const RECONNECT_MS = 1_000;

/**
 * Streams until the client leaves or the server stops. A client that does not read stops the reading of the
 * log; an outage of the database ends the stream, and the client resumes by itself.
 */
export function sendStream<R extends Pick<FastifyReply, "raw" | "header">>(
  context: Context,
  reply: R,
  cursor: Cursor,
): R {
  const left = new AbortController();
  const ended = context.metrics.streaming();
  reply.raw.once("close", () => {
    left.abort();
    ended();
  });
  const signal = AbortSignal.any([left.signal, context.stopping]);
  reply.header("x-accel-buffering", "no");
  // The connection is the stream's alone, so that nothing waits for it to be used again.
  reply.header("connection", "close");
  const stream = Readable.from(frames(context, cursor, signal), { objectMode: true, highWaterMark: 1 });
  return sendAsIs(reply, STREAM_TYPE, stream);
}

async function* frames({ core }: Context, cursor: Cursor, signal: AbortSignal): AsyncGenerator<string, void> {
  yield `retry: ${RECONNECT_MS}\n\n`;
  try {
    for await (const event of follow(core, cursor, HEARTBEAT_MS, signal)) {
      yield event === undefined ? ":\n\n" : `id: ${event.position}\ndata: ${eventJson(event)}\n\n`;
    }
  } catch (error) {
    const code = isFabricError(error) ? error.code : "internal";
    core.log.warn({ event: "stream.interrupted", code }, "a stream ends; its client resumes");
  }
}
