/** What the routes share. */
import type { Core } from "@linkspan/worker";
import type { FastifyInstance } from "fastify";
import type {
  FastifyBaseLogger,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { Registry } from "prom-client";
import type { HttpMetrics } from "./metrics.ts";

export interface Context {
  readonly core: Core;
  readonly registry: Registry;
  readonly metrics: HttpMetrics;
  readonly checks: readonly ReadinessCheck[];
  /** Aborted when the server stops taking requests: what waits answers, what streams ends. */
  readonly stopping: AbortSignal;
}

export interface ReadinessCheck {
  readonly name: string;
  /** What a failure takes away: `core`, the default, the whole process; `instance`, some daemon's instance only. */
  readonly scope?: "core" | "instance";
  /** Rejects, or tells `ok: false` with what to do. */
  readonly check: () => Promise<{ readonly ok: boolean; readonly detail: string }>;
}

export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/** A resource: registers its routes. */
export type Routes = (app: App, context: Context) => void;
