/**
 * `linkspan up`: the composition root. Every driver is chosen and constructed below here, everything is
 * opened in the order of its needs, and closed in the reverse: daemons hang up first, the database goes last.
 */
import { once } from "node:events";
import type { Logger } from "pino";
import type { Config } from "../config.ts";
import type { Output } from "../output.ts";
import { newMetrics, runApi } from "../roles/api.ts";
import { busOf, type Connect } from "../roles/bus.ts";
import { connectorsOf } from "../roles/connectors.ts";
import { type OpenCore, openCore, openDatabase, runCore } from "../roles/core.ts";
import { runAlone, runBeside, untilServing } from "../roles/daemons.ts";
import { Failures } from "../roles/failures.ts";
import { runJobs } from "../roles/jobs.ts";
import { logTo } from "../roles/log.ts";

/** What is running, for those who start it in their own process. */
export interface Running extends AsyncDisposable {
  /** Of the HTTP API; undefined when this process has no such role. */
  readonly url: string | undefined;
  /** Rejects when a part of it ended that should not have. Never resolves. */
  readonly failed: Promise<never>;
}

/** Starts what the configuration says; when something fails, what was started is stopped again. */
export async function start(config: Config): Promise<Running> {
  await using stack = new AsyncDisposableStack();
  const log = logTo(config);
  const connect = busOf(config, log);
  const failures = new Failures();
  const server = hasServer(config) ? await startServer(config, connect, failures, log, stack) : undefined;
  const daemons = [];
  for (const connector of await connectorsOf(config)) {
    const bus = stack.use(await connect(connector.service));
    const beside = config.roles.includes("core") ? server?.opened.core : undefined;
    const daemon =
      beside === undefined
        ? await runAlone(bus, connector, config, log, stack)
        : await runBeside(beside, bus, connector, config, log, stack);
    failures.watch(daemon.done);
    daemons.push(daemon);
  }
  await untilServing(daemons);
  const running = stack.move();
  return {
    url: server?.url,
    failed: failures.first,
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

function hasServer({ roles }: Config): boolean {
  return roles.includes("core") || roles.includes("api");
}

async function startServer(
  config: Config,
  connect: Connect,
  failures: Failures,
  log: Logger,
  stack: AsyncDisposableStack,
): Promise<{ readonly opened: OpenCore; readonly url: string | undefined }> {
  const { registry, metrics } = newMetrics();
  const { database, url: databaseUrl } = await openDatabase(config, log, stack);
  const bus = stack.use(await connect("core"));
  const opened = await openCore(config, bus, database, metrics, log, stack);
  if (config.roles.includes("core")) {
    failures.watch((await runCore(opened, stack)).ended);
    const retention = { days: config.retention_days, auditDays: config.audit_retention_days };
    await runJobs(opened, config.redis_url ?? databaseUrl, retention, log, stack);
  }
  const url = config.roles.includes("api") ? await runApi(opened, config, registry, log, stack) : undefined;
  return { opened, url };
}

/** Runs until aborted; prints `ready <url>` once everything answers. */
export async function up(config: Config, out: Output, signal: AbortSignal): Promise<void> {
  await using running = await start(config);
  out.result({ ready: running.url ?? config.roles }, `ready ${running.url ?? config.roles.join(",")}`);
  if (!signal.aborted) await Promise.race([once(signal, "abort"), running.failed]);
}
