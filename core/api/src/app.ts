/**
 * The application: every route, with the same access checks, validation and logging. It does not listen by
 * itself.
 */
import { randomUUID } from "node:crypto";
import { type ErrorCode, FabricError, NAMESPACE_WORKSPACE } from "@linkspan/envelopes";
import type { Core, RefusalKind } from "@linkspan/worker";
import fastify, { type FastifyInstance, type FastifyRequest } from "fastify";
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from "fastify-type-provider-zod";
import { guard } from "./auth/caller.ts";
import { readJson, refuseUnstorable } from "./body.ts";
import type { Context, Routes } from "./context.ts";
import { clientOf, inRanges } from "./limits/client-address.ts";
import { boundBodyTime } from "./limits/body-time.ts";
import { boundConnections } from "./limits/connections.ts";
import { type ApiLimits, BODY_BYTES, MAX_HEADER_BYTES, MAX_HEADERS } from "./limits/limits.ts";
import { describeApi } from "./openapi.ts";
import { refuseUnreadable, sendProblem, statusOf, toFabricError } from "./problem.ts";
import { audit } from "./routes/audit.ts";
import { bridges } from "./routes/bridges.ts";
import { connectors } from "./routes/connectors.ts";
import { document } from "./routes/document.ts";
import { enrolments } from "./routes/enrolments.ts";
import { events } from "./routes/events.ts";
import { healthRoutes } from "./routes/health.ts";
import { identities } from "./routes/identities.ts";
import { intents } from "./routes/intents.ts";
import { keys } from "./routes/keys.ts";
import { mediaFiles } from "./routes/media-files.ts";
import { mediaUploads } from "./routes/media-uploads.ts";
import { problems } from "./routes/problems.ts";
import { quarantine } from "./routes/quarantine.ts";
import { recordIntentRoutes } from "./routes/record-intents.ts";
import { replays } from "./routes/replays.ts";
import { stuck } from "./routes/stuck.ts";
import { tokens } from "./routes/tokens.ts";
import { foreignTrace } from "./trace.ts";

const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;

const ROUTES: readonly Routes[] = [
  healthRoutes,
  document,
  problems,
  recordIntentRoutes,
  intents,
  events,
  replays,
  bridges,
  identities,
  mediaUploads,
  mediaFiles,
  audit,
  quarantine,
  stuck,
  connectors,
  tokens,
  keys,
  enrolments,
];

export interface AppOptions {
  /**
   * Addresses and CIDR ranges of proxies; X-Forwarded-For from all other addresses is ignored. Default none.
   */
  readonly trustProxy?: readonly string[];
  readonly limits: ApiLimits;
}

export async function buildApp(context: Context, options: AppOptions): Promise<FastifyInstance> {
  const { limits } = options;
  const isProxy = inRanges(options.trustProxy ?? []);
  const app = fastify({
    logger: false,
    bodyLimit: BODY_BYTES.small,
    exposeHeadRoutes: false,
    trustProxy: (address) => isProxy(address),
    return503OnClosing: false,
    requestTimeout: 0, // see boundBodyTime
    connectionTimeout: limits.idleMs,
    routerOptions: { maxParamLength: 1_024 },
    http: {
      headersTimeout: limits.headersMs,
      connectionsCheckingInterval: 1_000,
      maxHeaderSize: MAX_HEADER_BYTES,
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
    },
    clientErrorHandler: refuseUnreadable,
    frameworkErrors: (error, request, reply) => {
      sendProblem(toFabricError(error), request.id, reply);
    },
    genReqId: (request) => {
      const given = request.headers["x-request-id"];
      return typeof given === "string" && REQUEST_ID.test(given) ? given : randomUUID();
    },
  });
  app.server.maxHeadersCount = MAX_HEADERS;
  boundConnections(app.server, { ...limits, isProxy });
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  readJson(app, context.admission);
  observe(app, context);
  boundBodyTime(app, limits);
  guard(app, context.core, context.admission);
  refuseUnstorable(app);
  reportProblems(app, context);
  await describeApi(app);
  const typed = app.withTypeProvider<ZodTypeProvider>();
  for (const routes of ROUTES) routes(typed, context);
  await app.ready();
  return app;
}

/** One log line and one measurement per request: the route's pattern, never its path, query or body. */
function observe(app: FastifyInstance, { core, metrics, stopping }: Context): void {
  app.addHook("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id);
  });
  app.addHook("onSend", async (_request, reply) => {
    if (stopping.aborted) reply.header("connection", "close");
  });
  app.addHook("onResponse", async (request, reply) => {
    const route = request.is404 ? undefined : request.routeOptions.url;
    metrics.answered(request.method, route, reply.statusCode, reply.elapsedTime / 1_000);
    const trace = foreignTrace(request.headers["traceparent"]);
    core.log.debug(
      {
        event: "http.answered",
        request_id: request.id,
        method: request.method,
        route: route ?? "none",
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
        ...(request.caller !== undefined && { token: request.caller.name, role: request.caller.role }),
        ...(trace !== undefined && { linked_trace_id: trace }),
      },
      "answered",
    );
  });
}

function reportProblems(app: FastifyInstance, { core }: Context): void {
  app.setErrorHandler((thrown, request, reply) => {
    const error = toFabricError(thrown);
    noteRefusal(core, request, error);
    if (statusOf(error.code) >= 500) {
      core.log.error(
        { event: "http.failed", request_id: request.id, code: error.code, err: faultOf(error) },
        "a request failed",
      );
    }
    return sendProblem(error, request.id, reply);
  });
  app.setNotFoundHandler((request: FastifyRequest) => {
    throw new FabricError("request.not_found", `no ${request.method} here; see /openapi.json`);
  });
}

/** Records refusals that concern access, for the audit. */
function noteRefusal({ refusals }: Core, request: FastifyRequest, { code }: FabricError): void {
  const kind = request.routeOptions.url === "/v1/enrolments" ? "enrolment" : REFUSED[code];
  if (kind === undefined || REFUSED[code] === undefined) return;
  const { caller } = request;
  refusals.note({
    kind,
    workspaceId: caller === undefined || caller.unbound ? NAMESPACE_WORKSPACE : caller.workspaceId,
    subject: caller === undefined ? `address:${clientOf(request)}` : caller.actor,
    code,
  });
}

const REFUSED: Partial<Record<ErrorCode, RefusalKind>> = {
  "request.unauthorized": "unauthorized",
  "request.forbidden": "forbidden",
  "request.rate_limited": "rate_limited",
  "envelope.unknown_key": "enrolment",
};

/** A database error contains rows; only its class, code and place are logged. */
function faultOf(error: FabricError): Record<string, unknown> {
  const fault = error.cause instanceof Error ? error.cause : error;
  return {
    type: fault.name,
    message: fault.message,
    ...("code" in fault && { code: fault.code }),
    stack: fault.stack,
  };
}
