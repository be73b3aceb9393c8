/** Linking and unlinking accounts, as Msgr's clients call it. */
import { FabricError, isConnector, LIMITS } from "@linkspan/envelopes";
import { identitiesOf, identityById } from "@linkspan/store";
import {
  catalog,
  cancelSession,
  type Core,
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
import { CatalogView, linkedCatalogView, SessionView, sessionView } from "../msgr-views.ts";
import { answers, Id, idParams, Instance, Name, Nothing } from "../schemas.ts";

const tags = ["bridges"];
const Bridge = z.object({ id: Name.meta({ description: "a service of the catalogue" }) });
const BridgeSession = z.object({ ...Bridge.shape, session_id: Id });
const Session = z.object({ data: SessionView });

const ClientContext = z
  .record(z.string(), z.unknown())
  .refine((context) => Buffer.byteLength(JSON.stringify(context)) <= LIMITS.contextBytes, "too large")
  .meta({
    description: "what the client states about itself; shown with the session, and passed to the connector",
  });
const Asked = {
  user_id: Name.optional(),
  instance: Instance.optional(),
  client_context: ClientContext.optional(),
};
const NewSession = z
  .looseObject({ ...Asked, session: z.looseObject(Asked).optional() })
  .nullish()
  .meta({ description: "members may stand in `session` or beside it" });

const MAX_FIELDS = 64;
/** Most accounts of one user at one service that one request unlinks. */
const MAX_UNLINKED = 100;
/** Most accounts of one user that the catalogue reads. */
const MAX_SHOWN = 200;
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
        querystring: z.object({
          status: z.enum(["available", "coming_soon"]).optional(),
          user_id: Name.optional().meta({ description: "whose links are shown; default: the token's name" }),
        }),
        response: answers({ 200: z.object({ data: z.array(CatalogView) }) }),
      },
    },
    async (request) => {
      const { status, user_id } = request.query;
      const caller = callerOf(request);
      const userId = userOf(caller, user_id);
      const accounts = await linkedTo(core, caller.workspaceId, userId);
      const entries = (await catalog(core.database.pool)).map((entry) => linkedCatalogView(entry, accounts));
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
      const clientContext = flat.client_context ?? session?.client_context;
      const opened = await openSession(core, {
        workspaceId: caller.workspaceId,
        userId: userOf(caller, flat.user_id ?? session?.user_id),
        service: request.params.id,
        actor: caller.actor,
        ...(instance !== undefined && { instance }),
        ...(clientContext !== undefined && { clientContext }),
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

  app.post(
    "/api/bridges/:id/sessions/:session_id/callback",
    {
      bodyLimit: BODY_BYTES.credentials,
      schema: {
        operationId: "finishSignIn",
        tags,
        summary: "Hand over what a sign-in page redirected with, such as `code` and `state`; linking goes on",
        description:
          "As credentials: each is a field that the connector declared. The query, the body, or both.",
        params: BridgeSession,
        querystring: Credentials,
        body: Credentials.nullish(),
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
        fields: { ...request.query, ...fieldsOf(request.body ?? {}) },
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
        querystring: z.object({
          user_id: Name.optional().meta({ description: "with a service: whose" }),
          instance: Instance.optional().meta({
            description: "only what this instance serves; default: every instance",
          }),
        }),
        response: answers({ 204: Nothing }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const { workspaceId, actor } = caller;
      const { id } = request.params;
      const { user_id, instance } = request.query;
      const identity = await identityById(core.database.pool, id);
      const isIdentity = identity?.workspace_id === workspaceId || !isConnector(id);
      if (isIdentity && instance !== undefined && identity?.instance !== instance) throw notThere();
      const ids = isIdentity
        ? [id]
        : await accountsOf(core, { workspaceId, service: id, userId: userOf(caller, user_id), instance });
      for (const identity of ids) await unlink(core, workspaceId, identity, actor);
      return reply.code(204).send();
    },
  );
};

/** A backend with a token per user need not name the user. */
function userOf(caller: Caller, given: string | undefined): string {
  return given ?? caller.name;
}

interface Accounts {
  readonly workspaceId: string;
  readonly service: string;
  readonly userId: string;
  readonly instance: string | undefined;
}

async function accountsOf(core: Core, { instance, ...of }: Accounts): Promise<string[]> {
  const filter = { ...of, limit: MAX_UNLINKED, ...(instance !== undefined && { instance }) };
  const found = await identitiesOf(core.database.pool, filter);
  if (found.length === 0) throw notThere();
  return found.map((identity) => identity.id);
}

function notThere(): FabricError {
  return new FabricError("request.not_found", "the user has no account there");
}

async function linkedTo(core: Core, workspaceId: string, userId: string) {
  const found = await identitiesOf(core.database.pool, { workspaceId, userId, limit: MAX_SHOWN });
  return found.filter(({ state }) => state === "linked");
}

/** The path must name the service that the session is for. */
async function requireSession(core: Core, caller: Caller, service: string, id: string): Promise<void> {
  const session = await readSession(core, caller.workspaceId, id);
  if (session.service !== service) {
    throw new FabricError("request.not_found", "no such session of this service");
  }
}

/** @throws FabricError `request.invalid` for NUL, which no table can store */
function fieldsOf(body: z.output<typeof Credentials>): Record<string, unknown> {
  const { credentials, ...flat } = body;
  const nested = typeof credentials === "object" && credentials !== null && !Array.isArray(credentials);
  const fields = nested ? (credentials as Record<string, unknown>) : body;
  if (JSON.stringify(nested ? fields : flat).includes("\\u0000")) {
    throw new FabricError("request.invalid", "body.credentials: a field holds NUL");
  }
  return fields;
}
