/** The audit: actors, actions and subjects. */
import { NAMESPACE_WORKSPACE } from "@linkspan/envelopes";
import { auditTrail, refusalsOf } from "@linkspan/store";
import { z } from "zod";
import { callerOf } from "../auth/caller.ts";
import type { Routes } from "../context.ts";
import { answers, limitOf, MAX_LIST_BYTES, Name, Open, withinBytes, Written } from "../schemas.ts";

const Entry = z
  .object({
    id: z.string(),
    at: Written,
    actor: z.string(),
    action: z.string(),
    subject: z.string(),
    detail: Open,
  })
  .meta({ id: "AuditEntry" });

const Refusal = z
  .object({
    minute: Written,
    kind: z.string(),
    workspace_id: z.string().meta({ description: "_ where none is proven" }),
    subject: z.string().meta({ description: "token, address or key; others: too many in that minute" }),
    code: z.string(),
    count: z.int(),
  })
  .meta({ id: "Refusal" });

export const audit: Routes = (app, { core }) => {
  app.get(
    "/v1/audit",
    {
      schema: {
        operationId: "readAudit",
        tags: ["audit"],
        summary: "Audit entries of the workspace, newest first",
        description:
          "A token for all workspaces that names none also sees those of none: keys, enrolments, switches for all.",
        querystring: z.object({ subject: Name.optional(), limit: limitOf(100, 1_000) }),
        response: answers({ 200: z.object({ entries: z.array(Entry) }) }),
      },
    },
    async (request) => {
      const { subject, limit } = request.query;
      const { everywhere, workspaceId } = callerOf(request);
      const filter = { limit, ...(subject !== undefined && { subject }) };
      const trails = await Promise.all(
        [workspaceId, ...(everywhere ? [NAMESPACE_WORKSPACE] : [])].map((one) =>
          auditTrail(core.database.pool, { ...filter, workspaceId: one }),
        ),
      );
      const rows = trails.flat().sort((a, b) => b.at.getTime() - a.at.getTime());
      const entries = rows.slice(0, limit).map((row) => ({ ...row, at: row.at.toISOString() }));
      return { entries: withinBytes(entries, MAX_LIST_BYTES) };
    },
  );
  app.get(
    "/v1/audit/refusals",
    {
      schema: {
        operationId: "readRefusals",
        tags: ["audit"],
        summary: "What was refused, counted by the minute, newest first",
        description:
          "A token for all workspaces that names none sees those of all, and those that nobody proved.",
        querystring: z.object({ limit: limitOf(100, 1_000) }),
        response: answers({ 200: z.object({ refusals: z.array(Refusal) }) }),
      },
    },
    async (request) => {
      const { everywhere, workspaceId } = callerOf(request);
      const { limit } = request.query;
      const rows = await refusalsOf(core.database.pool, { limit, ...(!everywhere && { workspaceId }) });
      return {
        refusals: rows.map(({ minute, workspaceId: workspace_id, ...row }) => ({
          ...row,
          minute: minute.toISOString(),
          workspace_id,
        })),
      };
    },
  );
};
