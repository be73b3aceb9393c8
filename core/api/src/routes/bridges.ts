/** Linking and unlinking accounts, as Msgr's clients call it. */
import { FabricError } from "@linkspan/envelopes";
import { identitiesOf } from "@linkspan/store";
import {
  catalog,
  cancelSession,
  type Core,
  isLinkable,
  openSession,
  readSession,
  sessionEntry,
  submitCredentials,
  unlink,
} from "@linkspan/worker";
import { z } from "zod";
import { type Caller, callerOf } from "../auth/caller.ts";
import type { Routes } from "../context.ts";
import { BODY_BYTES } from "../limits/limits.ts";
import { CatalogView, catalogView, SessionView, sessionView } from "../msgr-views.ts";
import { answers, Id, idParams, Instance, Name, Nothing } from "../schemas.ts";

const tags = ["bridges"];
const Bridge = z.object({ id: Name.meta({ description: "a service of the catalogue" }) });
const BridgeSession = z.object({ ...Bridge.shape, session_id: Id });
const Session = z.object({ data: SessionView });

const Who = { user_id: Name.optional(), instance: Instance.optional() };
const NewSession = z
  .looseObject({ ...Who, session: z.looseObject(Who).optional() })
  .nullish()
  .meta({ description: "members may stand in `session` or beside it" });

const MAX_FIELDS = 64;
/** Accounts of one user at one service that one request unlinks. */
const MAX_UNLINKED = 100;
const Credentials = z
  .record(z.string().max(64), z.unknown())
  .refine((fields) => Object.keys(fields).length <= MAX_FIELDS, `more than ${MAX_FIELDS} fields`)
  .meta({ description: "what the person entered, in `credentials` or beside it" });

export const bridges: Routes = (app, { core }) => {
  app.get(
    "/api/bridges/catalog",
    {
      schema: {
        operationId: "listBridges",
        tags,
        summary: "What can be linked, and what a person is asked for",
        querystring: z.object({ status: z.enum(["available", "coming_soon"]).optional() }),
        response: answers({ 200: z.object({ data: z.array(CatalogView) }) }),
      },
    },
    async (request) => {
      const { status } = request.query;
      const entries = (await catalog(core.database.pool)).map(catalogView);
      return { data: status === undefined ? entries : entries.filter((entry) => entry.status === status) };
    },
  );

  app.post(
    "/api/bridges/:id/sessions",
    {
      schema: {
        operationId: "openLinkSession",
        tags,
        summary: "Begin to link an account; good for 15 minutes",
        params: Bridge,
        body: NewSession,
        response: answers({ 200: Session }),
      },
    },
    async (request) => {
      const caller = callerOf(request);
      const { session, ...flat } = request.body ?? {};
      const instance = flat.instance ?? session?.instance;
      const opened = await openSession(core, {
        workspaceId: caller.workspaceId,
        userId: userOf(caller, flat.user_id ?? session?.user_id),
        service: request.params.id,
        actor: caller.actor,
        ...(instance !== undefined && { instance }),
      });
      return { data: sessionView(opened, await sessionEntry(core.database.pool, opened)) };
    },
  );

  app.get(
    "/api/bridges/sessions/:id",
    {
      schema: {
        operationId: "readLinkSession",
        tags,
        summary: "How far linking has come",
        params: idParams,
        response: answers({ 200: Session }),
      },
    },
    async (request) => {
      const session = await readSession(core, callerOf(request).workspaceId, request.params.id);
      return { data: sessionView(session, await sessionEntry(core.database.pool, session)) };
    },
  );

  app.post(
    "/api/bridges/:id/sessions/:session_id/credentials",
    {
      bodyLimit: BODY_BYTES.credentials,
      schema: {
        operationId: "submitCredentials",
        tags,
        summary: "Hand over what the person entered; secrets go to the vault, and linking starts",
        params: BridgeSession,
        body: Credentials,
        response: answers({ 200: Session }),
      },
    },
    async (request) => {
      const caller = callerOf(request);
      const { id, session_id } = request.params;
      await requireSession(core, caller, id, session_id);
      const session = await submitCredentials(core, {
        workspaceId: caller.workspaceId,
        sessionId: session_id,
        fields: fieldsOf(request.body),
        actor: caller.actor,
      });
      return { data: sessionView(session, await sessionEntry(core.database.pool, session)) };
    },
  );

  app.delete(
    "/api/bridges/:id/sessions/:session_id",
    {
      schema: {
        operationId: "cancelLinkSession",
        tags,
        summary: "Give up linking",
        params: BridgeSession,
        response: answers({ 204: Nothing }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const { id, session_id } = request.params;
      await requireSession(core, caller, id, session_id);
      await cancelSession(core, caller.workspaceId, session_id, caller.actor);
      return reply.code(204).send();
    },
  );

  app.delete(
    "/api/bridges/:id",
    {
      schema: {
        operationId: "unlinkBridge",
        tags,
        summary: "Unlink an identity, or the user's accounts at a service",
        params: z.object({ id: Name.meta({ description: "an identity, or a service" }) }),
        querystring: z.object({ user_id: Name.optional().meta({ description: "with a service: whose" }) }),
        response: answers({ 204: Nothing }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const { workspaceId, actor } = caller;
      const { id } = request.params;
      const ids = isLinkable(id)
        ? await accountsOf(core, workspaceId, id, userOf(caller, request.query.user_id))
        : [id];
      for (const identity of ids) await unlink(core, workspaceId, identity, actor);
      return reply.code(204).send();
    },
  );
};

/** A backend with a token per user need not name the user. */
function userOf(caller: Caller, given: string | undefined): string {
  return given ?? caller.name;
}

async function accountsOf(
  core: Core,
  workspaceId: string,
  service: string,
  userId: string,
): Promise<string[]> {
  const found = await identitiesOf(core.database.pool, { workspaceId, service, userId, limit: MAX_UNLINKED });
  if (found.length === 0) throw new FabricError("request.not_found", "the user has no account there");
  return found.map((identity) => identity.id);
}

/** The path must name the service that the session is for. */
async function requireSession(core: Core, caller: Caller, service: string, id: string): Promise<void> {
  const session = await readSession(core, caller.workspaceId, id);
  if (session.service !== service) {
    throw new FabricError("request.not_found", "no such session of this service");
  }
}

/** @throws FabricError `request.invalid` for NUL, which no table takes */
function fieldsOf(body: z.output<typeof Credentials>): Record<string, unknown> {
  const { credentials, ...flat } = body;
  const nested = typeof credentials === "object" && credentials !== null && !Array.isArray(credentials);
  const fields = nested ? (credentials as Record<string, unknown>) : body;
  if (JSON.stringify(nested ? fields : flat).includes("\\u0000")) {
    throw new FabricError("request.invalid", "body.credentials: a field holds NUL");
  }
  return fields;
}
