/**
 * Messages that fail repeatedly: lists them, and gives one up. For callers with a token for all workspaces.
 */
import { stuckMessages } from "@linkspan/store";
import { giveUpStuck } from "@linkspan/worker";
import { z } from "zod";
import { callerOf, requireUnbound } from "../auth/caller.ts";
import type { Routes } from "../context.ts";
import { answers, limitOf, Name, Written } from "../schemas.ts";

const tags = ["quarantine"];

const StuckView = z
  .object({
    queue: z.string(),
    message_id: z.string(),
    code: z.string().meta({ description: "of the last failure" }),
    failures: z.int(),
    since: Written,
    given_up: z.boolean().meta({ description: "it goes to quarantine within seconds" }),
  })
  .meta({ id: "StuckMessage" });

export const stuck: Routes = (app, { core }) => {
  app.get(
    "/v1/stuck",
    {
      schema: {
        operationId: "listStuck",
        tags,
        summary:
          "Messages to the core that fail again and again and hold up their conversation, longest first",
        querystring: z.object({ limit: limitOf(100, 500) }),
        response: answers({ 200: z.object({ messages: z.array(StuckView) }) }),
      },
    },
    async (request) => {
      requireUnbound(callerOf(request));
      const rows = await stuckMessages(core.database.pool, core.namespace.name, request.query.limit);
      return { messages: rows.map(view) };
    },
  );

  app.post(
    "/v1/stuck/give-up",
    {
      schema: {
        operationId: "giveUpStuck",
        tags,
        summary: "Move one to quarantine, from where it can be retried",
        description: "The process that holds the message does it within seconds, between two tries.",
        body: z.strictObject({ queue: Name, message_id: Name }),
        response: answers({ 202: StuckView }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      requireUnbound(caller);
      const { queue, message_id: messageId } = request.body;
      return reply.code(202).send(view(await giveUpStuck(core, { queue, messageId }, caller.actor)));
    },
  );
};

type Row = Awaited<ReturnType<typeof stuckMessages>>[number];

function view({ since, given_up_by, ...row }: Row): z.output<typeof StuckView> {
  return { ...row, since: since.toISOString(), given_up: given_up_by !== null };
}
