/** Events of a workspace's accounts: pages, long polls and streams over one cursor. */
import { lastPosition, type StoredEvent } from "@linkspan/store";
import type { FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { callerOf } from "../auth/caller.ts";
import type { Context, Routes } from "../context.ts";
import type { Held } from "../events/byte-budget.ts";
import { sendStream, STREAM_TYPE } from "../events/event-stream.ts";
import { awaitPage, bytesOf, type Cursor, readOn } from "../events/pages.ts";
import { answers, limitOf } from "../schemas.ts";
import { sendAsIs } from "../send-as-is.ts";
import { eventJson, EventView } from "../views.ts";

/** An answer ends early, with the event that reaches this size. */
const MAX_ANSWER_BYTES = 4 * 1_048_576;

const Position = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const CursorParam = z
  .union([z.literal("latest"), Position])
  .meta({ description: "position after which to read; latest: only what comes now" });
const LastEventId = z.object({ "last-event-id": Position.optional() }).loose();

const PageQuery = z.object({
  cursor: CursorParam.default(0),
  limit: limitOf(100, 1_000),
  wait_ms: z.coerce
    .number()
    .int()
    .min(0)
    .max(30_000)
    .default(0)
    .meta({ description: "how long to wait for an event when there is none" }),
});

const Page = z.object({ events: z.array(EventView), next_cursor: z.int() }).meta({ id: "EventPage" });
const Stream = {
  description: "id: position, data: an Event; a comment every 15 s",
  content: { [STREAM_TYPE]: { schema: z.string() } },
};

export const events: Routes = (app, context) => {
  app.get(
    "/v1/events",
    {
      schema: {
        operationId: "readEvents",
        tags: ["events"],
        summary: "Events after a cursor; as a stream when text/event-stream is accepted",
        querystring: PageQuery,
        headers: LastEventId,
        response: answers({
          200: { description: "A page", content: { "application/json": { schema: Page } } },
        }),
      },
    },
    async (request, reply) => {
      const { cursor, limit, wait_ms } = request.query;
      const after = request.headers["last-event-id"] ?? cursor;
      const from = await positionOf(context, request, after);
      if (request.headers.accept?.includes(STREAM_TYPE) === true) {
        return sendStream(context, request, reply, from);
      }
      const found = await pageFor(context, request, reply, from, { limit, waitMs: wait_ms });
      const next = found.at(-1)?.position ?? from.after;
      const text = `{"events":[${found.map(eventJson).join(",")}],"next_cursor":${next}}`;
      return sendAsIs(reply, "application/json; charset=utf-8", Buffer.from(text));
    },
  );

  app.get(
    "/v1/events/stream",
    {
      schema: {
        operationId: "streamEvents",
        tags: ["events"],
        summary: "Server-sent events, resuming after Last-Event-ID",
        querystring: z.object({ cursor: CursorParam.default(0) }),
        headers: LastEventId,
        response: answers({ 200: Stream }),
      },
    },
    async (request, reply) => {
      const after = request.headers["last-event-id"] ?? request.query.cursor;
      return sendStream(context, request, reply, await positionOf(context, request, after));
    },
  );
};

async function positionOf({ core }: Context, request: FastifyRequest, after: number | "latest") {
  const { workspaceId } = callerOf(request);
  return { workspaceId, after: after === "latest" ? await lastPosition(core.database) : after };
}

/** The bytes of the page count until the answer was sent. */
async function pageFor(
  { readers, stopping }: Context,
  request: FastifyRequest,
  { raw }: Pick<FastifyReply, "raw">,
  cursor: Cursor,
  { limit, waitMs }: { readonly limit: number; readonly waitMs: number },
): Promise<readonly StoredEvent[]> {
  const left = new AbortController();
  raw.once("close", () => left.abort());
  const gone = AbortSignal.any([left.signal, stopping]);
  let held: Held | undefined;
  let upTo = cursor.after;
  raw.once("close", () => held?.release());
  const read = async () => {
    held?.release();
    if (gone.aborted) return [];
    held = await readers.bytes.take(cursor.workspaceId, MAX_ANSWER_BYTES, gone);
    const from = { workspaceId: cursor.workspaceId, after: upTo };
    const read = await readOn(readers.feed, readers.readPage, from, { limit, maxBytes: MAX_ANSWER_BYTES });
    held.resize(bytesOf(read.page));
    upTo = read.upTo;
    return read.page;
  };
  if (waitMs === 0) return read();
  const place = readers.enter(request);
  raw.once("close", () => place.leave());
  const patience = AbortSignal.any([gone, place.revoked, AbortSignal.timeout(waitMs)]);
  const page = await awaitPage(readers.feed, read, cursor.workspaceId, patience);
  return place.revoked.aborted ? [] : page;
}
