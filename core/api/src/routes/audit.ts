/** Who did what to what. */
import { auditTrail } from "@linkspan/store";
import { z } from "zod";
import { callerOf } from "../auth/caller.ts";
import type { Routes } from "../context.ts";
import { answers, limitOf, Name, Open, Written } from "../schemas.ts";

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

export const audit: Routes = (app, { core }) => {
  app.get(
    "/v1/audit",
    {
      schema: {
        operationId: "readAudit",
        tags: ["audit"],
        summary: "Audit entries of the workspace, newest first",
        querystring: z.object({ subject: Name.optional(), limit: limitOf(100, 1_000) }),
        response: answers({ 200: z.object({ entries: z.array(Entry) }) }),
      },
    },
    async (request) => {
      const { subject, limit } = request.query;
      const { workspaceId } = callerOf(request);
      const rows = await auditTrail(core.database.pool, {
        workspaceId,
        limit,
        ...(subject !== undefined && { subject }),
      });
      return { entries: rows.map((row) => ({ ...row, at: row.at.toISOString() })) };
    },
  );
};
