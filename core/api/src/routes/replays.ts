/** Sends events again, to one subscriber on the bus. */
import { replayEvents } from "@linkspan/worker";
import { z } from "zod";
import { callerOf } from "../auth/caller.ts";
import type { Routes } from "../context.ts";
import { answers, Instance } from "../schemas.ts";

const Position = z.int().min(1);
const Replayed = z
  .object({
    count: z.int(),
    skipped: z.int().meta({ description: "too large for the note around them" }),
    marker: z.string().meta({ description: "in every note of this replay" }),
    next: z.int().optional().meta({ description: "position to go on from; absent when all was sent" }),
  })
  .meta({ id: "Replayed" });

export const replays: Routes = (app, { core }) => {
  app.post(
    "/v1/replays",
    {
      schema: {
        operationId: "replayEvents",
        tags: ["events"],
        summary: "Send events again to one named subscriber, marked as a replay",
        description: "The subscriber must listen for bridge/core/<subscriber>/fanout.",
        body: z.strictObject({ subscriber: Instance, from: Position, to: Position.optional() }),
        response: answers({ 200: Replayed }),
      },
    },
    (request) => {
      const { workspaceId, actor } = callerOf(request);
      const { subscriber, from, to } = request.body;
      return replayEvents(core, { workspaceId, subscriber, from, actor, ...(to !== undefined && { to }) });
    },
  );
};
