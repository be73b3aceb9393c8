import type { Readable } from "node:stream";
import type { FastifyReply } from "fastify";

/** Answers with a body in its final form; the route's schema describes it but does not serialise it. */
export function sendAsIs<R extends object>(reply: R, type: string, body: Buffer | Readable): R {
  (reply as unknown as FastifyReply).header("cache-control", "no-store").type(type).send(body);
  return reply;
}
