/** Who asks: the bearer token of a request, looked up before its body is read. */
import { FabricError } from "@linkspan/envelopes";
import { apiToken, type ApiToken, type Role } from "@linkspan/store";
import { ALL_WORKSPACES, type Core } from "@linkspan/worker";
import type { FastifyInstance, FastifyRequest, RouteOptions } from "fastify";
import { WORKSPACE } from "../schemas.ts";
import { AuthFailures } from "./failures.ts";
import { type Allowed, allowedOn } from "./permissions.ts";
import { hashToken, tokenOf } from "./secrets.ts";

export interface Caller {
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
}

declare module "fastify" {
  interface FastifyRequest {
    caller: Caller | undefined;
  }
  interface FastifyContextConfig {
    allowed?: Allowed;
  }
}

/** Where a token for all workspaces acts when the request names none. */
export const DEFAULT_WORKSPACE = "default";
export const WORKSPACE_HEADER = "x-linkspan-workspace";

/** Registers the check on every route of the application. */
export function guard(app: FastifyInstance, core: Core, failures = new AuthFailures()): void {
  app.decorateRequest("caller", undefined);
  app.addHook("onRoute", (route: RouteOptions) => {
    const methods = [route.method].flat();
    const allowed = allowedOn(methods.join(","), route.url);
    route.config = { ...route.config, allowed };
    route.schema = { ...route.schema, ...describe(allowed) };
  });
  app.addHook("onRequest", async (request) => {
    if (request.is404) return;
    const allowed = request.routeOptions.config.allowed ?? [];
    if (allowed === "anyone") return;
    request.caller = await authenticate(core, request, failures);
    if (!allowed.includes(request.caller.role)) {
      throw new FabricError(
        "request.forbidden",
        `the role ${request.caller.role} may not do this; ${allowed.join(", ")} may`,
      );
    }
  });
}

/** @throws FabricError `request.unauthorized` on a route that anyone may ask */
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

async function authenticate(core: Core, request: FastifyRequest, failures: AuthFailures): Promise<Caller> {
  const token = bearer(request.headers.authorization);
  const hash = token === undefined ? undefined : hashToken(token);
  const key = hash === undefined ? undefined : Buffer.from(hash).toString("base64url");
  const nowMs = core.now().getTime();
  const blockedMs = failures.blockedMs(request.ip, key, nowMs);
  if (blockedMs > 0) {
    throw new FabricError("request.unauthorized", "too many failed attempts from this address", {
      retryAfterMs: blockedMs,
    });
  }
  const known = hash === undefined ? undefined : await apiToken(core.database.pool, hash);
  if (known === undefined || key === undefined) {
    failures.failed(request.ip, key, nowMs);
    throw new FabricError("request.unauthorized", "the token is missing, unknown or revoked");
  }
  failures.succeeded(key);
  return toCaller(known, request.headers[WORKSPACE_HEADER]);
}

function bearer(header: string | undefined): string | undefined {
  const [scheme, text, ...rest] = header?.split(" ") ?? [];
  if (scheme?.toLowerCase() !== "bearer" || text === undefined || rest.length > 0) return undefined;
  return tokenOf(text, "lsp");
}

function toCaller(token: ApiToken, named: string | string[] | undefined): Caller {
  const unbound = token.workspace_id === ALL_WORKSPACES;
  if (named !== undefined && (typeof named !== "string" || !(WORKSPACE.test(named) || named === "_"))) {
    throw new FabricError("request.invalid", `${WORKSPACE_HEADER} is not a workspace id`);
  }
  if (named !== undefined && !unbound && named !== token.workspace_id) {
    throw new FabricError("request.forbidden", "the token is bound to another workspace");
  }
  return {
    name: token.name,
    role: token.role,
    actor: `token:${token.name}`,
    workspaceId: named ?? (unbound ? DEFAULT_WORKSPACE : token.workspace_id),
    everywhere: unbound && named === undefined,
    unbound,
  };
}

/** What the document says of a route's access. */
function describe(allowed: Allowed) {
  return allowed === "anyone"
    ? { security: [] }
    : { security: [{ token: [] }], "x-linkspan-roles": [...allowed] };
}
