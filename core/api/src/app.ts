/** The application: every route, guarded, checked and logged alike. It listens to nothing by itself. */
import { randomUUID } from "node:crypto";
import { FabricError } from "@linkspan/envelopes";
import fastify, { type FastifyInstance, type FastifyRequest } from "fastify";
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from "fastify-type-provider-zod";
import { guard } from "./auth/caller.ts";
import type { Context, Routes } from "./context.ts";
import { describeApi } from "./openapi.ts";
import { headersOf, PROBLEM_TYPE, problemOf, toFabricError } from "./problem.ts";
import { audit } from "./routes/audit.ts";
import { bridges } from "./routes/bridges.ts";
import { connectors } from "./routes/connectors.ts";
import { document } from "./routes/document.ts";
import { enrolments } from "./routes/enrolments.ts";
import { events } from "./routes/events.ts";
import { health } from "./routes/health.ts";
import { identities } from "./routes/identities.ts";
import { intents } from "./routes/intents.ts";
import { quarantine } from "./routes/quarantine.ts";
import { replays } from "./routes/replays.ts";
import { tokens } from "./routes/tokens.ts";
import { foreignTrace } from "./trace.ts";

const MAX_BODY_BYTES = 1_048_576;
const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;

const ROUTES: readonly Routes[] = [
  health,
  document,
  intents,
  events,
  replays,
  bridges,
  identities,
  audit,
  quarantine,
  connectors,
  tokens,
  enrolments,
];

export interface AppOptions {
  /** Take the client's address from X-Forwarded-For; only behind a proxy that sets it. Default false. */
  readonly trustProxy?: boolean;
}

export async function buildApp(context: Context, options: AppOptions = {}): Promise<FastifyInstance> {
  const app = fastify({
    logger: false,
    bodyLimit: MAX_BODY_BYTES,
    exposeHeadRoutes: false,
    trustProxy: options.trustProxy ?? false,
    return503OnClosing: false,
    genReqId: (request) => {
      const given = request.headers["x-request-id"];
      return typeof given === "string" && REQUEST_ID.test(given) ? given : randomUUID();
    },
  });
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  acceptEmptyJson(app);
  observe(app, context);
  guard(app, context.core);
  reportProblems(app, context);
  await describeApi(app);
  const typed = app.withTypeProvider<ZodTypeProvider>();
  for (const routes of ROUTES) routes(typed, context);
  await app.ready();
  return app;
}

/** Clients send the content type also where a request needs no body. */
function acceptEmptyJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.removeContentTypeParser(["application/json", "text/plain"]);
  app.addContentTypeParser("application/json", { parseAs: "string" }, (request, body, done) => {
    if (body === "") done(null, undefined);
    else void parse(request, body as string, done);
  });
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
    const problem = problemOf(error, request.id);
    if (problem.status >= 500) {
      core.log.error(
        { event: "http.failed", request_id: request.id, code: error.code, err: faultOf(error) },
        "a request failed",
      );
    }
    return reply
      .code(problem.status)
      .headers(headersOf(error))
      .type(PROBLEM_TYPE)
      .serializer(JSON.stringify)
      .send(problem);
  });
  app.setNotFoundHandler((request: FastifyRequest) => {
    throw new FabricError("request.not_found", `no ${request.method} here; see /openapi.json`);
  });
}

/** A database's error carries rows; only its class, code and place are logged. */
function faultOf(error: FabricError): Record<string, unknown> {
  const fault = error.cause instanceof Error ? error.cause : error;
  return {
    type: fault.name,
    message: fault.message,
    ...("code" in fault && { code: fault.code }),
    stack: fault.stack,
  };
}
