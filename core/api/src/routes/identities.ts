/** Linked accounts: where each stands, and whom it knows. */
import { FabricError } from "@linkspan/envelopes";
import { contactsOf, identitiesOf, identityById } from "@linkspan/store";
import { catalog, catalogEntry, unlink } from "@linkspan/worker";
import { z } from "zod";
import { callerOf } from "../auth/caller.ts";
import type { Routes } from "../context.ts";
import { answers, idParams, Name, Nothing, Service } from "../schemas.ts";
import { contactView, IdentityDetailView, identityView, IdentityView } from "../views.ts";

const tags = ["identities"];

export const identities: Routes = (app, { core }) => {
  app.get(
    "/v1/identities",
    {
      schema: {
        operationId: "listIdentities",
        tags,
        summary: "Accounts that are linked, or being linked",
        querystring: z.object({ user_id: Name.optional(), service: Service.optional() }),
        response: answers({ 200: z.object({ identities: z.array(IdentityView) }) }),
      },
    },
    async (request) => {
      const { user_id, service } = request.query;
      const rows = await identitiesOf(core.database.pool, {
        workspaceId: callerOf(request).workspaceId,
        ...(user_id !== undefined && { userId: user_id }),
        ...(service !== undefined && { service }),
      });
      const entries = new Map((await catalog(core.database.pool)).map((entry) => [entry.service, entry]));
      return { identities: rows.map((row) => identityView(row, entries.get(row.service))) };
    },
  );

  app.get(
    "/v1/identities/:id",
    {
      schema: {
        operationId: "readIdentity",
        tags,
        summary: "One account: state of its bridge, capabilities, contacts and channels",
        params: idParams,
        response: answers({ 200: IdentityDetailView }),
      },
    },
    async (request) => {
      const { workspaceId } = callerOf(request);
      const identity = await identityById(core.database.pool, request.params.id);
      if (identity?.workspace_id !== workspaceId) {
        throw new FabricError("request.not_found", "no such identity in this workspace");
      }
      const contacts = await contactsOf(core.database.pool, workspaceId, identity.id);
      const entry = await catalogEntry(core.database.pool, identity.service);
      return { ...identityView(identity, entry), contacts: contacts.map(contactView) };
    },
  );

  app.delete(
    "/v1/identities/:id",
    {
      schema: {
        operationId: "unlinkIdentity",
        tags,
        summary: "Unlink: what waits is denied, the credential is destroyed",
        params: idParams,
        response: answers({ 204: Nothing }),
      },
    },
    async (request, reply) => {
      const { workspaceId, actor } = callerOf(request);
      await unlink(core, workspaceId, request.params.id, actor);
      return reply.code(204).send();
    },
  );
};
