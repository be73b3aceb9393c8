/** Liveness, readiness and metrics. Open to all: nothing here is about a tenant. */
import { oldestTransaction, stuckInstances } from "@linkspan/store";
import { VERSION } from "@linkspan/worker";
import { z } from "zod";
import { callerOf, requireUnbound } from "../auth/caller.ts";
import { SharedChecks } from "../shared-checks.ts";
import type { Context, ReadinessCheck, Routes } from "../context.ts";
import { holdUp } from "../hold-up.ts";
import { answers } from "../schemas.ts";
import { sendAsIs } from "../send-as-is.ts";
import { partitionCheck } from "./partition-check.ts";

const tags = ["health"];
/** Most instances that a failed check names. */
const MAX_NAMED = 5;

const Readiness = z
  .object({
    status: z.enum(["ready", "degraded", "not_ready"]).meta({
      description:
        "degraded: the core serves, but not all of it: an instance or a partition that GET /v1/health names",
    }),
    checks: z.array(
      z.object({
        name: z.string(),
        ok: z.boolean(),
        detail: z.string().meta({ description: "when not ok: what to do" }),
      }),
    ),
  })
  .meta({ id: "Readiness" });

const Index = z.object({
  name: z.string(),
  version: z.string(),
  namespace: z.string(),
  openapi: z.string(),
  health: z.string(),
});

export const healthRoutes: Routes = (app, context) => {
  const health = new SharedChecks();
  app.get(
    "/",
    { schema: { operationId: "index", tags, summary: "What this is", response: answers({ 200: Index }) } },
    () => ({
      name: "linkspan",
      version: VERSION,
      namespace: context.core.namespace.name,
      openapi: "/openapi.json",
      health: "/health/ready",
    }),
  );

  app.get(
    "/health/live",
    {
      schema: {
        operationId: "live",
        tags,
        summary: "The process answers",
        response: answers({ 200: z.object({ status: z.literal("live") }) }),
      },
    },
    () => ({ status: "live" as const }),
  );

  const read = async () => {
    const checks = await Promise.all(context.checks.map((check) => health.of(check)));
    const failed = context.checks.filter((_, index) => checks[index]?.ok !== true);
    const whole = failed.length === 0 ? ("ready" as const) : ("degraded" as const);
    const serves = !context.stopping.aborted && failed.every(({ scope }) => scope === "instance");
    return { status: serves ? whole : ("not_ready" as const), checks };
  };

  app.get(
    "/health/ready",
    {
      schema: {
        operationId: "ready",
        tags,
        summary: "Everything it needs answers; each check tells what to do when it does not",
        response: answers({ 200: Readiness, 503: Readiness }),
      },
    },
    async (_request, reply) => {
      const { status, checks } = await read();
      return reply
        .code(status === "not_ready" ? 503 : 200)
        .header("cache-control", "no-store")
        .send({
          status,
          checks: checks.map(({ name, ok, help }) => ({ name, ok, detail: ok ? "answers" : help })),
        });
    },
  );

  app.get(
    "/v1/health",
    {
      schema: {
        operationId: "readHealth",
        tags,
        summary: "As /health/ready, with what was seen; for who answers for all workspaces",
        response: answers({ 200: Readiness }),
      },
    },
    async (request) => {
      requireUnbound(callerOf(request));
      const { status, checks } = await read();
      return { status, checks: checks.map(({ name, ok, detail }) => ({ name, ok, detail })) };
    },
  );

  app.get(
    "/metrics",
    {
      schema: {
        operationId: "metrics",
        tags,
        summary: "Prometheus metrics",
        response: answers({
          200: { description: "Prometheus text", content: { "text/plain": { schema: z.string() } } },
        }),
      },
    },
    async (_request, reply) =>
      sendAsIs(reply, context.registry.contentType, Buffer.from(await context.registry.metrics())),
  );
};

/** Checks of the dependencies of every core: its database, its bus, its vault. */
export function checksOf({ core }: Pick<Context, "core">): ReadinessCheck[] {
  return [
    {
      name: "database",
      help: "the database does not answer; see linkspan doctor",
      check: async () => {
        const worth = holdUp(await oldestTransaction(core.database.pool));
        return { ok: true, detail: worth === undefined ? "answers" : `answers; ${worth}` };
      },
    },
    {
      name: "bus",
      help: "the message broker does not answer; is it running?",
      check: async () => {
        const { state, reason, stuck = [] } = core.bus.health();
        if (state === "degraded") return { ok: false, detail: `${reason ?? state}; it is being mended` };
        if (state !== "up") return { ok: false, detail: `${reason ?? state}; is the broker running?` };
        const [first] = stuck;
        if (first === undefined) return { ok: true, detail: state };
        const example = `${first.messageId ?? "one"} in ${first.queue}: ${first.code}`;
        return { ok: true, detail: `up; ${stuck.length} messages fail again and again (${example})` };
      },
    },
    {
      name: "instances",
      scope: "instance",
      help: "a daemon's instance cannot be served; GET /v1/health names it",
      check: async () => {
        const stuck = await stuckInstances(core.database.pool, MAX_NAMED);
        if (stuck.length === 0) return { ok: true, detail: "every held instance can be served" };
        const named = stuck.map(({ service, instance, code, detail }) => {
          return `${service}/${instance} cannot be served (${code}): ${detail ?? "see its log"}`;
        });
        return { ok: false, detail: named.join("; ") };
      },
    },
    partitionCheck(core),
    {
      name: "vault",
      help: "the vault is sealed or its key backend is away; unseal it",
      check: async () => {
        const vault = await core.vault.health();
        return vault.state === "open"
          ? { ok: true, detail: `open with ${vault.backend}` }
          : { ok: false, detail: `sealed: ${vault.reason}; unseal it` };
      },
    },
  ];
}
