/**
 * The caller of a request: its bearer token is looked up before the body is read, and its limits are checked.
 */
import { FabricError } from "@linkspan/envelopes";
import { type ApiToken, apiTokensByHash, type Role } from "@linkspan/store";
import { ALL_WORKSPACES, type Core } from "@linkspan/worker";
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from "fastify";
import type { Admission, Counted } from "../limits/admission.ts";
import { clientOf } from "../limits/client-address.ts";
import { WORKSPACE } from "../schemas.ts";
import { type Allowed, allowedOn } from "./permissions.ts";
import { hashToken, tokenOf } from "./secrets.ts";
import { TokenLookup } from "./token-lookup.ts";

export interface Caller extends Counted {
  readonly name: string;
  readonly role: Role;
  /** For the audit. */
  readonly actor: `token:${string}`;
  /** The workspace that this request is about. */
  readonly workspaceId: string;
  /** The token is for all workspaces and the request names none. */
  readonly everywhere: boolean;
  /** The token is for all workspaces. */
  readonly unbound: boolean;
  readonly tokenHash: Uint8Array;
}

declare module "fastify" {
  interface FastifyRequest {
    caller: Caller | undefined;
    /** Frees the request's place among the requests that are being answered, for one that stays open. */
    leave: () => void;
    /** Ends the request's turn, so that the next one begins. */
    endTurn: () => void;
  }
  interface FastifyContextConfig {
    allowed?: Allowed;
  }
}

/** Workspace of a token for all workspaces when the request names none. */
export const DEFAULT_WORKSPACE = "default";
export const WORKSPACE_HEADER = "x-linkspan-workspace";

/** Registers the check on every route of the application. */
export function guard(app: FastifyInstance, core: Core, admission: Admission): void {
  const lookup = new TokenLookup((hashes) => apiTokensByHash(core.database.pool, hashes));
  app.decorateRequest("caller", undefined);
  app.decorateRequest("leave", () => undefined);
  app.decorateRequest("endTurn", () => undefined);
  app.addHook("onRoute", (route: RouteOptions) => {
    const methods = [route.method].flat();
    const allowed = allowedOn(methods.join(","), route.url);
    route.config = { ...route.config, allowed };
    route.schema = { ...route.schema, ...describe(allowed) };
  });
  app.addHook("onRequest", async (request, reply) => {
    const allowed = request.is404 ? "anyone" : (request.routeOptions.config.allowed ?? []);
    if (allowed === "anyone") {
      admission.anonymous(clientOf(request));
      return;
    }
    const caller = await authenticate(request, lookup, admission);
    await admit(request, reply, caller, admission);
    if (!allowed.includes(caller.role)) {
      throw new FabricError(
        "request.forbidden",
        `the role ${caller.role} may not do this; ${allowed.join(", ")} may`,
      );
    }
  });
  takeTurns(app, admission);
}

/**
 * Takes a turn before a request is processed, and after its body was read, so that a slow body blocks nobody.
 * The turn ends when the answer is known, so that a slow reader blocks nobody either.
 */
function takeTurns(app: FastifyInstance, admission: Admission): void {
  app.addHook("preValidation", async (request, reply) => {
    if (request.caller === undefined) return undefined;
    const gone = new AbortController();
    reply.raw.once("close", () => gone.abort());
    const end = await admission.turn(request.caller, gone.signal);
    if (gone.signal.aborted) {
      end();
      return reply.hijack();
    }
    const { leave } = request;
    request.leave = () => {
      end();
      leave();
    };
    request.endTurn = end;
    reply.raw.once("close", end);
    return undefined;
  });
  app.addHook("onSend", async ({ endTurn }) => endTurn());
  app.addHook("onResponse", async ({ caller }, { statusCode }) => {
    if (caller !== undefined && statusCode >= 400 && statusCode < 500 && statusCode !== 429) {
      admission.mistaken(caller);
    }
  });
}

/** @throws FabricError `request.unauthorized` on a route that needs no token */
export function callerOf(request: FastifyRequest): Caller {
  if (request.caller === undefined) throw new FabricError("request.unauthorized", "no token came with it");
  return request.caller;
}

/** @throws FabricError `request.forbidden` */
export function requireUnbound(caller: Caller): void {
  if (!caller.unbound) {
    throw new FabricError("request.forbidden", "this concerns all workspaces; the token is bound to one");
  }
}

/**
 * Only failed attempts count against an address: a valid token is accepted from any address.
 *
 * @throws FabricError `request.unauthorized`, `request.rate_limited`, `store.unavailable`
 */
async function authenticate(
  request: FastifyRequest,
  lookup: TokenLookup,
  admission: Admission,
): Promise<Caller> {
  const token = bearer(request.headers.authorization);
  const hash = token === undefined ? undefined : hashToken(token);
  const known = hash === undefined ? undefined : await lookup.find(hash);
  if (known === undefined || hash === undefined) {
    admission.failed(clientOf(request));
    throw new FabricError("request.unauthorized", "the token is missing, unknown or revoked");
  }
  const own = toCaller(known, hash, undefined);
  // Set before the workspace header is checked, so that a refusal counts for the token and not only for the
  // address.
  request.caller = own;
  request.caller = toCaller(known, hash, workspaceNamed(own, request.headers[WORKSPACE_HEADER]));
  return request.caller;
}

async function admit(
  request: FastifyRequest,
  reply: FastifyReply,
  caller: Caller,
  admission: Admission,
): Promise<void> {
  try {
    request.leave = admission.request(caller);
  } catch (error) {
    await admission.beforeRefusal();
    throw error;
  }
  reply.raw.once("close", request.leave);
}

function bearer(header: string | undefined): string | undefined {
  const [scheme, text, ...rest] = header?.split(" ", 3) ?? [];
  if (scheme?.toLowerCase() !== "bearer" || text === undefined || rest.length > 0) return undefined;
  return tokenOf(text);
}

/** @throws FabricError `request.invalid`, `request.forbidden` */
function workspaceNamed(own: Caller, named: string | string[] | undefined): string | undefined {
  if (named === undefined) return undefined;
  if (typeof named !== "string" || !(WORKSPACE.test(named) || named === "_")) {
    throw new FabricError("request.invalid", `${WORKSPACE_HEADER} is not a workspace id`);
  }
  if (!own.unbound && named !== own.workspaceId) {
    throw new FabricError("request.forbidden", "the token is bound to another workspace");
  }
  return named;
}

function toCaller(token: ApiToken, tokenHash: Uint8Array, named: string | undefined): Caller {
  const unbound = token.workspace_id === ALL_WORKSPACES;
  return {
    name: token.name,
    role: token.role,
    actor: `token:${token.name}`,
    workspaceId: named ?? (unbound ? DEFAULT_WORKSPACE : token.workspace_id),
    everywhere: unbound && named === undefined,
    unbound,
    tokenHash,
    tokenKey: Buffer.from(tokenHash).toString("base64url"),
    // Operators of the installation must be able to inspect a workspace that floods it.
    countsForWorkspace: !unbound || token.role === "backend",
  };
}

/** The description of a route's access in the OpenAPI document. */
function describe(allowed: Allowed) {
  return allowed === "anyone"
    ? { security: [] }
    : { security: [{ token: [] }], "x-linkspan-roles": [...allowed] };
}
