/** What became of the intents of backends; `record-intents.ts` records them. */
import { FabricError, INTENT_STATES } from "@linkspan/envelopes";
import { intentById, listIntents, stepsOf } from "@linkspan/store";
import { cancelIntent, resolveIntent } from "@linkspan/worker";
import { z } from "zod";
import { callerOf } from "../auth/caller.ts";
import type { Routes } from "../context.ts";
import { answers, idParams, limitOf, MAX_LIST_BYTES, Serial, withinBytes } from "../schemas.ts";
import { IntentDetailView, intentView, IntentView, stepView } from "../views.ts";

const tags = ["intents"];

const State = z.enum(INTENT_STATES);

const ListQuery = z.object({
  state: State.optional(),
  limit: limitOf(100, 500),
  before: Serial.optional().meta({ description: "next_before of the page before" }),
});

const IntentPage = z
  .object({ intents: z.array(IntentView), next_before: z.string().optional() })
  .meta({ id: "IntentPage" });

export const intents: Routes = (app, { core }) => {
  app.get(
    "/v1/intents",
    {
      schema: {
        operationId: "listIntents",
        tags,
        summary: "Intents, newest first, without their contents",
        querystring: ListQuery,
        response: answers({ 200: IntentPage }),
      },
    },
    async (request) => {
      const { state, limit, before } = request.query;
      const rows = await listIntents(core.database.pool, {
        workspaceId: callerOf(request).workspaceId,
        limit,
        ...(state !== undefined && { state }),
        ...(before !== undefined && { before }),
      });
      const views = withinBytes(rows.map(intentView), MAX_LIST_BYTES);
      const more = rows.length === limit || views.length < rows.length;
      const last = more ? rows[views.length - 1] : undefined;
      return { intents: views, ...(last !== undefined && { next_before: last.ordinal }) };
    },
  );

  app.get(
    "/v1/intents/:id",
    {
      schema: {
        operationId: "readIntent",
        tags,
        summary: "One intent with its contents and its steps",
        params: idParams,
        response: answers({ 200: IntentDetailView }),
      },
    },
    async (request) => {
      const intent = await intentById(core.database.pool, request.params.id);
      if (intent?.workspace_id !== callerOf(request).workspaceId) {
        throw new FabricError("request.not_found", "no such intent in this workspace");
      }
      const steps = await stepsOf(core.database.pool, intent.id);
      return { ...intentView(intent), payload: intent.payload, steps: steps.map(stepView) };
    },
  );

  app.post(
    "/v1/intents/:id/cancel",
    {
      schema: {
        operationId: "cancelIntent",
        tags,
        summary:
          "Stop an intent of which no part is being sent; its state tells whether it was stopped. If some parts were sent, it ends failed",
        params: idParams,
        response: answers({ 200: IntentView }),
      },
    },
    async (request) => {
      const { workspaceId, actor } = callerOf(request);
      return intentView(await cancelIntent(core, workspaceId, request.params.id, actor));
    },
  );

  app.post(
    "/v1/intents/:id/resolve",
    {
      schema: {
        operationId: "resolveIntent",
        tags,
        summary: "Settle an uncertain intent, after looking on the platform",
        params: idParams,
        body: z.strictObject({ outcome: z.enum(["sent", "failed"]) }),
        response: answers({ 200: IntentView }),
      },
    },
    async (request) => {
      const { workspaceId, actor } = callerOf(request);
      const { id } = request.params;
      return intentView(await resolveIntent(core, { workspaceId, id, outcome: request.body.outcome, actor }));
    },
  );
};
