/** API tokens: shown once, kept as hashes. */
import { FabricError } from "@linkspan/envelopes";
import { apiTokensOf, audit, insertApiToken, revokeApiTokens, type Role } from "@linkspan/store";
import { ALL_WORKSPACES } from "@linkspan/worker";
import { z } from "zod";
import { type Caller, callerOf, requireUnbound } from "../auth/caller.ts";
import { mayGrant } from "../auth/permissions.ts";
import { hashToken, newToken } from "../auth/secrets.ts";
import type { Routes } from "../context.ts";
import { answers, Nothing, Workspace, Written } from "../schemas.ts";

const tags = ["tokens"];
/** Most valid tokens in one workspace; a token beyond the list's end could not be found to be revoked. */
const MAX_TOKENS = 1_000;
const TokenName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, "not a name of a-z, 0-9, dot, dash, underscore");
const RoleName = z.enum(["owner", "admin", "operator", "auditor", "backend"]) satisfies z.ZodType<Role>;
const TokenWorkspace = z.union([z.literal(ALL_WORKSPACES), Workspace]);

const Token = { name: TokenName, role: RoleName, workspace_id: TokenWorkspace };
const Created = z
  .object({ ...Token, token: z.string().meta({ description: "shown this once" }) })
  .meta({ id: "NewToken" });
const Scope = z.object({
  workspace_id: TokenWorkspace.optional().meta({
    description: "with a token for all workspaces; * for its like",
  }),
});

export const tokens: Routes = (app, { core }) => {
  app.get(
    "/v1/tokens",
    {
      schema: {
        operationId: "listTokens",
        tags,
        summary: "Tokens in force, without their secrets",
        querystring: Scope,
        response: answers({
          200: z.object({ tokens: z.array(z.object({ ...Token, name: z.string(), created_at: Written })) }),
        }),
      },
    },
    async (request) => {
      const workspaceId = scopeOf(callerOf(request), request.query.workspace_id);
      const rows = await apiTokensOf(core.database.pool, workspaceId, MAX_TOKENS);
      return { tokens: rows.map((row) => ({ ...row, created_at: row.created_at.toISOString() })) };
    },
  );

  app.post(
    "/v1/tokens",
    {
      schema: {
        operationId: "createToken",
        tags,
        summary: "Make a token; its secret is in this answer and nowhere else",
        body: z.strictObject({ ...Token, workspace_id: TokenWorkspace.optional() }),
        response: answers({ 201: Created }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const { name, role } = request.body;
      const workspaceId = scopeOf(caller, request.body.workspace_id);
      requireGrant(caller, role);
      const token = newToken();
      await core.database.transaction(async (client) => {
        const known = await apiTokensOf(client, workspaceId, MAX_TOKENS);
        if (known.some((other) => other.name === name)) {
          throw new FabricError("request.invalid", "body.name: a token of this name exists; delete it first");
        }
        if (known.length === MAX_TOKENS) {
          throw new FabricError(
            "request.invalid",
            `the workspace has ${MAX_TOKENS} tokens; delete some first`,
          );
        }
        await insertApiToken(client, hashToken(token), { name, role, workspace_id: workspaceId });
        await audit(client, {
          workspaceId,
          actor: caller.actor,
          action: "token.created",
          subject: name,
          detail: { role },
        });
      });
      return reply
        .code(201)
        .header("cache-control", "no-store")
        .send({ name, role, workspace_id: workspaceId, token });
    },
  );

  app.delete(
    "/v1/tokens/:name",
    {
      schema: {
        operationId: "revokeToken",
        tags,
        summary: "Revoke a token at once",
        params: z.object({ name: TokenName }),
        querystring: Scope,
        response: answers({ 204: Nothing }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const { name } = request.params;
      const workspaceId = scopeOf(caller, request.query.workspace_id);
      await core.database.transaction(async (client) => {
        const known = (await apiTokensOf(client, workspaceId, MAX_TOKENS)).filter(
          (token) => token.name === name,
        );
        if (known.length === 0) throw new FabricError("request.not_found", "no such token in force");
        for (const { role } of known) requireGrant(caller, role);
        await revokeApiTokens(client, workspaceId, name);
        await audit(client, { workspaceId, actor: caller.actor, action: "token.revoked", subject: name });
      });
      return reply.code(204).send();
    },
  );
};

/** @throws FabricError `request.forbidden` */
function scopeOf(caller: Caller, wanted: string | undefined): string {
  if (wanted !== undefined && wanted !== caller.workspaceId) requireUnbound(caller);
  return wanted ?? caller.workspaceId;
}

function requireGrant(caller: Caller, role: Role): void {
  if (!mayGrant(caller.role, role)) {
    throw new FabricError("request.forbidden", `the role ${caller.role} may not give or take ${role}`);
  }
}
