/** Envelopes that were refused: list, publish again, drop. */
import { FabricError } from "@linkspan/envelopes";
import { listQuarantine, quarantined } from "@linkspan/store";
import { type Core, dropQuarantined, retryQuarantined } from "@linkspan/worker";
import { z } from "zod";
import { type Caller, callerOf } from "../auth/caller.ts";
import type { Routes } from "../context.ts";
import { ProblemSchema } from "../problem.ts";
import { answers, limitOf, MAX_LIST_BYTES, Nothing, Serial, withinBytes } from "../schemas.ts";
import { quarantineDetailView, QuarantineDetailView, quarantineView, QuarantineView } from "../views.ts";

const tags = ["quarantine"];
const params = z.object({ id: Serial });
const Query = z.object({
  state: z.enum(["open", "retried", "dropped", "all"]).default("open"),
  code: ProblemSchema.shape.code.optional(),
  limit: limitOf(100, 500),
});

export const quarantine: Routes = (app, { core }) => {
  app.get(
    "/v1/quarantine",
    {
      schema: {
        operationId: "listQuarantine",
        tags,
        summary: "Refused envelopes, newest first; a token for all workspaces sees also those of none",
        querystring: Query,
        response: answers({ 200: z.object({ entries: z.array(QuarantineView) }) }),
      },
    },
    async (request) => {
      const caller = callerOf(request);
      const { state, code, limit } = request.query;
      const rows = await listQuarantine(core.database.pool, {
        limit,
        ...(state !== "all" && { state }),
        ...(code !== undefined && { code }),
        ...(!caller.everywhere && { workspaceId: caller.workspaceId }),
      });
      return { entries: withinBytes(rows.map(quarantineView), MAX_LIST_BYTES) };
    },
  );

  app.get(
    "/v1/quarantine/:id",
    {
      schema: {
        operationId: "readQuarantined",
        tags,
        summary: "One refused envelope with its bytes",
        params,
        response: answers({ 200: QuarantineDetailView }),
      },
    },
    async (request) => quarantineDetailView(await visible(core, callerOf(request), request.params.id)),
  );

  app.post(
    "/v1/quarantine/:id/retry",
    {
      schema: {
        operationId: "retryQuarantined",
        tags,
        summary: "Publish it again, unchanged, on its route",
        params,
        response: answers({ 204: Nothing }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      await visible(core, caller, request.params.id);
      await retryQuarantined(core, request.params.id, caller.actor);
      return reply.code(204).send();
    },
  );

  app.post(
    "/v1/quarantine/:id/drop",
    {
      schema: {
        operationId: "dropQuarantined",
        tags,
        summary: "Give it up; its bytes stay for the record",
        params,
        response: answers({ 204: Nothing }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      await visible(core, caller, request.params.id);
      await dropQuarantined(core, request.params.id, caller.actor);
      return reply.code(204).send();
    },
  );
};

async function visible(core: Core, caller: Caller, id: string) {
  const row = await quarantined(core.database.pool, id);
  if (row === undefined || (!caller.everywhere && row.workspace_id !== caller.workspaceId)) {
    throw new FabricError("request.not_found", "no such entry in quarantine");
  }
  return row;
}
