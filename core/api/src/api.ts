/** The running HTTP API of a core. */
import type { Core } from "@linkspan/worker";
import type { FastifyInstance } from "fastify";
import type { Registry } from "prom-client";
import { type AppOptions, buildApp } from "./app.ts";
import type { ReadinessCheck } from "./context.ts";
import { Readers } from "./events/readers.ts";
import { Admission } from "./limits/admission.ts";
import { type ApiLimits, DEFAULT_LIMITS, turnsOf } from "./limits/limits.ts";
import { busMetrics, databaseMetrics, httpMetrics } from "./metrics.ts";
import { checksOf } from "./routes/health.ts";

export interface ApiOptions extends Omit<AppOptions, "limits"> {
  /** Missing ones have their defaults. */
  readonly limits?: Partial<ApiLimits>;
  readonly host: string;
  /** 0 chooses a free port. */
  readonly port: number;
  /** Served at /metrics; the API adds its own. One API per registry. */
  readonly registry: Registry;
  /** Default: the core's. */
  readonly log?: Core["log"];
  /** Run by /health/ready in addition to database, bus and vault. */
  readonly checks?: readonly ReadinessCheck[];
}

export interface Api extends AsyncDisposable {
  readonly url: string;
  /** The application, for requests without a socket. */
  readonly app: FastifyInstance;
}

/**
 * Resolves when the API answers requests. Disposing stops accepting requests, ends streams and long polls,
 * and finishes all other requests.
 *
 * @throws Error of the network when it cannot listen on the address
 */
export async function startApi(owner: Core, options: ApiOptions): Promise<Api> {
  const core = options.log === undefined ? owner : { ...owner, log: options.log };
  const stop = new AbortController();
  databaseMetrics(options.registry, core.database);
  busMetrics(options.registry, core.bus);
  const limits = { ...DEFAULT_LIMITS, turns: turnsOf(core.database.pool.options.max), ...options.limits };
  const admission = new Admission(limits);
  const readers = new Readers(core, admission, limits);
  const app = await buildApp(
    {
      core,
      registry: options.registry,
      metrics: httpMetrics(options.registry),
      admission,
      limits,
      readers,
      checks: [...checksOf({ core }), ...(options.checks ?? [])],
      stopping: stop.signal,
    },
    { ...options, limits },
  );
  const url = await app.listen({ host: options.host, port: options.port });
  core.log.info({ event: "api.listening", url }, "the API is ready for requests");
  return {
    url,
    app,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await app.close();
      await readers[Symbol.asyncDispose]();
    },
  };
}
