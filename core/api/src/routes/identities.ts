/** Linked accounts: their states and contacts. */
import { FabricError } from "@linkspan/envelopes";
import { contactsOf, identitiesOf, identityById } from "@linkspan/store";
import { InstanceCatalog, unlink } from "@linkspan/worker";
import { z } from "zod";
import { callerOf } from "../auth/caller.ts";
import type { Routes } from "../context.ts";
import {
  answers,
  Id,
  idParams,
  limitOf,
  MAX_LIST_BYTES,
  Name,
  Nothing,
  Service,
  withinBytes,
} from "../schemas.ts";
import { contactView, IdentityDetailView, identityView, IdentityView } from "../views.ts";

const tags = ["identities"];
const ContactRef = z.string().max(8_192);
const IdentityPage = z
  .object({ identities: z.array(IdentityView), next_after: z.string().optional() })
  .meta({ id: "IdentityPage" });

export const identities: Routes = (app, { core }) => {
  app.get(
    "/v1/identities",
    {
      schema: {
        operationId: "listIdentities",
        tags,
        summary: "Accounts that are linked, or being linked",
        querystring: z.object({
          user_id: Name.optional(),
          service: Service.optional(),
          limit: limitOf(500, 1_000),
          after: Id.optional().meta({ description: "next_after of the page before" }),
        }),
        response: answers({ 200: IdentityPage }),
      },
    },
    async (request) => {
      const { user_id, service, limit, after } = request.query;
      const rows = await identitiesOf(core.database.pool, {
        workspaceId: callerOf(request).workspaceId,
        limit,
        ...(after !== undefined && { after }),
        ...(user_id !== undefined && { userId: user_id }),
        ...(service !== undefined && { service }),
      });
      const announced = await InstanceCatalog.of(core.database.pool, rows);
      const all = rows.map((row) => identityView(row, announced.entry(row)));
      const views = withinBytes(all, MAX_LIST_BYTES);
      const more = rows.length === limit || views.length < rows.length;
      const last = more ? views.at(-1) : undefined;
      return { identities: views, ...(last !== undefined && { next_after: last.id }) };
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
        querystring: z.object({
          contacts_limit: limitOf(500, 1_000),
          contacts_after: ContactRef.optional().meta({
            description: "next_contacts_after of the page before",
          }),
        }),
        response: answers({ 200: IdentityDetailView }),
      },
    },
    async (request) => {
      const { workspaceId } = callerOf(request);
      const identity = await identityById(core.database.pool, request.params.id);
      if (identity?.workspace_id !== workspaceId) {
        throw new FabricError("request.not_found", "no such identity in this workspace");
      }
      const { contacts_limit: limit, contacts_after: after } = request.query;
      const contacts = await contactsOf(core.database.pool, workspaceId, identity.id, {
        limit,
        ...(after !== undefined && { after }),
      });
      const views = withinBytes(contacts.map(contactView), MAX_LIST_BYTES);
      const more = contacts.length === limit || views.length < contacts.length;
      const last = more ? views.at(-1) : undefined;
      const announced = await InstanceCatalog.of(core.database.pool, [identity]);
      return {
        ...identityView(identity, announced.entry(identity)),
        contacts: views,
        ...(last !== undefined && { next_contacts_after: last.ref }),
      };
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
