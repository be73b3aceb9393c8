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
import type { Readers } from "./events/readers.ts";
import type { Admission } from "./limits/admission.ts";
import type { HttpMetrics } from "./metrics.ts";

export interface Context {
  readonly core: Core;
  readonly registry: Registry;
  readonly metrics: HttpMetrics;
  readonly admission: Admission;
  /** What the readers of events share. */
  readonly readers: Readers;
  readonly checks: readonly ReadinessCheck[];
  /** Aborted when the server stops taking requests: what waits answers, what streams ends. */
  readonly stopping: AbortSignal;
}

export interface ReadinessCheck {
  readonly name: string;
  /** What a failure takes away: `core`, the default, what this process does; `instance`, what others do for some accounts. */
  readonly scope?: "core" | "instance";
  /** What to do when it is not ok; told to everybody, so it is the same for all causes. */
  readonly help?: string;
  /** Rejects, or tells `ok: false`; the detail is told to the staff of the installation only. */
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
