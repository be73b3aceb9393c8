/** Media comes in: a body of bytes becomes `media://<sha256>`. */
import { parse as parseDisposition } from "content-disposition";
import { FabricError, isFabricError } from "@linkspan/envelopes";
import type { StoredMedia } from "@linkspan/store";
import { mediaOf, storeMedia } from "@linkspan/worker";
import type { FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { callerOf } from "../auth/caller.ts";
import type { Routes } from "../context.ts";
import { arriving } from "../limits/body-time.ts";
import { beginTransfer } from "../limits/transfers.ts";
import { answers } from "../schemas.ts";

const MAX_GIVEN_NAME = 1_024;

const Media = z
  .object({
    url: z.string().meta({ description: "media://<sha256>: how messages name it" }),
    sha256: z.string(),
    bytes: z.int(),
    mime: z.string().meta({ description: "found in the bytes; what the request says does not count" }),
    name: z.string().meta({ description: "without paths and invisible characters; of the first upload" }),
  })
  .meta({ id: "Media" });

export const mediaUploads: Routes = (app, context) => {
  const { core, limits } = context;
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", (_request, payload, done) => done(null, payload));
    scope.withTypeProvider<ZodTypeProvider>().post(
      "/v1/media",
      {
        bodyLimit: Number.MAX_SAFE_INTEGER, // storeMedia counts
        config: { isStreamed: true },
        schema: {
          operationId: "uploadMedia",
          tags: ["media"],
          summary: "Store the bytes of the body, of any content type",
          description:
            "The same bytes again are the same media and cost nothing. An upload that fails leaves nothing. The name may also come as `Content-Disposition: attachment; filename=…`.",
          consumes: ["application/octet-stream"],
          querystring: z.object({ name: z.string().max(MAX_GIVEN_NAME).optional() }),
          body: z.unknown(),
          response: answers({ 200: Media }),
        },
      },
      async (request, reply) => {
        const { workspaceId, actor } = callerOf(request);
        request.endTurn();
        const name = request.query.name ?? nameIn(request.headers["content-disposition"]);
        try {
          refuseTooLong(request.headers["content-length"], mediaOf(core).limits.maxBytes);
          beginTransfer(context, reply, workspaceId);
          request.leave();
          return viewOf(
            await storeMedia(core, { workspaceId, actor, name }, bytesOf(request, limits.stallMs)),
          );
        } catch (error) {
          // What is still to come of the body is not read.
          reply.header("connection", "close");
          throw error;
        }
      },
    );
  });
};

/** @throws FabricError `media.incomplete` when the body ends before its time */
async function* bytesOf(request: FastifyRequest, stallMs: number): AsyncGenerator<Uint8Array> {
  if (request.body === undefined) return;
  try {
    yield* arriving(request, { stallMs });
  } catch (cause) {
    if (isFabricError(cause)) throw cause;
    throw new FabricError("media.incomplete", "the body ended before its time", { cause });
  }
}

function refuseTooLong(length: string | undefined, maxBytes: number): void {
  if (length === undefined || Number(length) <= maxBytes) return;
  throw new FabricError("media.too_large", `media has at most ${maxBytes} bytes`);
}

function nameIn(header: string | undefined): string | undefined {
  if (header === undefined || header.length > MAX_GIVEN_NAME) return undefined;
  try {
    return parseDisposition(header).parameters["filename"];
  } catch {
    return undefined; // a header without a name that can be read
  }
}

function viewOf({ sha256, bytes, mime, name }: StoredMedia): z.output<typeof Media> {
  const hash = sha256.toString("hex");
  return { url: `media://${hash}`, sha256: hash, bytes, mime, name };
}
