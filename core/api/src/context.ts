/** Values that all routes share. */
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
import type { ApiLimits } from "./limits/limits.ts";
import type { HttpMetrics } from "./metrics.ts";

export interface Context {
  readonly core: Core;
  readonly registry: Registry;
  readonly metrics: HttpMetrics;
  readonly admission: Admission;
  readonly limits: ApiLimits;
  /** State that all readers of events share. */
  readonly readers: Readers;
  readonly checks: readonly ReadinessCheck[];
  /** Aborted when the server stops accepting requests: long polls answer and streams end. */
  readonly stopping: AbortSignal;
}

export interface ReadinessCheck {
  readonly name: string;
  /**
   * What is affected by a failure: `core`, the default, the work of this process; `instance`, the work of
   * other processes for some accounts.
   */
  readonly scope?: "core" | "instance";
  /** What to do when it is not ok. It is shown to everybody, so it is the same for all causes. */
  readonly help?: string;
  /** Rejects, or answers `ok: false`; the detail is shown only to the operators of the installation. */
  readonly check: () => Promise<{ readonly ok: boolean; readonly detail: string }>;
}

export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/** Registers the routes of one resource. */
export type Routes = (app: App, context: Context) => void;
