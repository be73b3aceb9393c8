/** Media goes out: to the tokens of its workspace, and to whoever has a link that one of them made. */
import { FabricError } from "@linkspan/envelopes";
import { audit } from "@linkspan/store";
import { findMedia, mediaLink, readMediaLink, type ReadableMedia } from "@linkspan/worker";
import type { FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { callerOf } from "../auth/caller.ts";
import type { Context, Routes } from "../context.ts";
import { beginTransfer } from "../limits/transfers.ts";
import { sendMedia } from "../media-answer.ts";
import { answers, Written } from "../schemas.ts";

const tags = ["media"];
const LONGEST_LINK_S = 86_400;

const Hash = z.string().regex(/^[0-9a-f]{64}$/, "not a SHA-256 in lower case");
const params = z.object({ sha256: Hash });
const linkParams = z.object({ link: z.string().max(512) });

const Whole = z.unknown().meta({
  description:
    "the bytes; with `Range`, a part of them as 206. Only images, audio and video are shown in place",
});
const file = { 200: Whole, 206: z.unknown().meta({ description: "the bytes of the range" }) };

const Link = z
  .object({
    url: z.string().meta({ description: "path at the API that answered; needs no token" }),
    expires_at: Written,
  })
  .meta({ id: "MediaLink" });

export const mediaFiles: Routes = (app, context) => {
  const { core } = context;
  const own = async (request: FastifyRequest<{ Params: z.output<typeof params> }>, reply: FastifyReply) => {
    const { workspaceId } = callerOf(request);
    const found = await mediaIn(context, workspaceId, request.params.sha256);
    request.leave();
    const caching = "private, no-cache";
    return send(context, request, reply, found, {
      "cache-control": caching,
      "cross-origin-resource-policy": "same-origin",
    });
  };
  const summary = "The bytes of media, or a range of them";
  app.get(
    "/v1/media/:sha256",
    { schema: { operationId: "readMedia", tags, summary, params, response: answers(file) } },
    own,
  );
  app.head(
    "/v1/media/:sha256",
    {
      schema: {
        operationId: "readMedia",
        tags,
        summary: "The headers of media",
        params,
        response: answers({ 200: Whole }),
      },
    },
    own,
  );

  app.post(
    "/v1/media/:sha256/links",
    {
      schema: {
        operationId: "linkMedia",
        tags,
        summary: "A link that gives these bytes for a short time, without a token",
        params,
        body: z.strictObject({ expires_in_s: z.int().min(1).max(LONGEST_LINK_S).default(300) }),
        response: answers({ 201: Link }),
      },
    },
    async (request, reply) => {
      const { workspaceId, actor } = callerOf(request);
      const { sha256 } = request.params;
      const { expires_in_s } = request.body;
      (await mediaIn(context, workspaceId, sha256))[Symbol.dispose]();
      const expiresAt = new Date(Math.floor(core.now().getTime() / 1_000 + expires_in_s) * 1_000);
      const link = await mediaLink(core, { workspaceId, sha256, expiresAt });
      const detail = { expires_in_s };
      await audit(core.database.pool, {
        workspaceId,
        actor,
        action: "media.linked",
        subject: sha256,
        detail,
      });
      return reply
        .code(201)
        .header("cache-control", "no-store")
        .send({ url: `/v1/media/links/${link}`, expires_at: expiresAt.toISOString() });
    },
  );

  const linked = async (
    request: FastifyRequest<{ Params: z.output<typeof linkParams> }>,
    reply: FastifyReply,
  ) => {
    const link = await readMediaLink(core, request.params.link);
    if (link === undefined)
      throw new FabricError("request.not_found", "the link is not valid, or has expired");
    const found = await mediaIn(context, link.workspaceId, link.sha256);
    const leftS = Math.floor((link.expiresAt.getTime() - core.now().getTime()) / 1_000);
    return send(context, request, reply, found, {
      "cache-control": `private, max-age=${leftS}`,
      // Pages of other origins may show it: the link is the permission.
      "cross-origin-resource-policy": "cross-origin",
      "referrer-policy": "no-referrer",
    });
  };
  app.get(
    "/v1/media/links/:link",
    { schema: { operationId: "readMediaLink", tags, summary, params: linkParams, response: answers(file) } },
    linked,
  );
  app.head(
    "/v1/media/links/:link",
    {
      schema: {
        operationId: "readMediaLink",
        tags,
        summary: "The headers of what a link gives",
        params: linkParams,
        response: answers({ 200: Whole }),
      },
    },
    linked,
  );
};

/** Media of another workspace is not there, as media that nobody has. @throws FabricError `request.not_found` */
async function mediaIn({ core }: Context, workspaceId: string, sha256: string): Promise<ReadableMedia> {
  const found = await findMedia(core, workspaceId, Buffer.from(sha256, "hex"));
  if (found === undefined) throw new FabricError("request.not_found", "no such media in this workspace");
  return found;
}

/** @throws FabricError `request.rate_limited`, or what reading the first bytes throws */
async function send(
  context: Context,
  request: FastifyRequest,
  reply: FastifyReply,
  found: ReadableMedia,
  headers: Readonly<Record<string, string>>,
): Promise<FastifyReply> {
  try {
    beginTransfer(context, reply, found.media.workspaceId);
    return await sendMedia(request, reply, found, headers);
  } catch (error) {
    found[Symbol.dispose]();
    throw error;
  }
}
