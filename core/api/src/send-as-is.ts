import type { Readable } from "node:stream";
import type { FastifyReply } from "fastify";

/** Answers with what is in its final form already; the route's schema describes it and does not shape it. */
export function sendAsIs<R extends object>(reply: R, type: string, body: Buffer | Readable): R {
  (reply as unknown as FastifyReply).header("cache-control", "no-store").type(type).send(body);
  return reply;
}
