/**
 * `linkspan up`: the composition root. Every driver is chosen and constructed below here, everything is
 * opened in the order of its needs, and closed in the reverse: daemons hang up first, the database goes last.
 */
import { once } from "node:events";
import type { Config } from "../config.ts";
import { newMetrics, runApi } from "../roles/api.ts";
import { busOf } from "../roles/bus.ts";
import { type OpenCore, openCore, openDatabase, runCore } from "../roles/core.ts";
import { connectorsOf } from "../roles/connectors.ts";
import { runAlone, runBeside } from "../roles/daemons.ts";
import { runJobs } from "../roles/jobs.ts";
import { logTo } from "../roles/log.ts";

/** What is running, for those who start it in their own process. */
export interface Running extends AsyncDisposable {
  /** Of the HTTP API; undefined when this process has no such role. */
  readonly url: string | undefined;
}

/** Starts what the configuration says; when something fails, what was started is stopped again. */
export async function start(config: Config): Promise<Running> {
  await using stack = new AsyncDisposableStack();
  const log = logTo(config);
  const connect = busOf(config);
  const has = (role: "core" | "api") => config.roles.includes(role);
  let url: string | undefined;
  let opened: OpenCore | undefined;

  if (has("core") || has("api")) {
    const { registry, metrics } = newMetrics();
    const { database, url: databaseUrl } = await openDatabase(config, log, stack);
    const bus = stack.use(await connect("core"));
    opened = await openCore(config, bus, database, metrics, log, stack);
    if (has("core")) {
      await runCore(opened, stack);
      await runJobs(opened, config.redis_url ?? databaseUrl, config.retention_days, log, stack);
    }
    if (has("api")) url = await runApi(opened, config, registry, log, stack);
  }
  for (const connector of connectorsOf(config)) {
    const bus = stack.use(await connect(connector.service));
    if (opened !== undefined && has("core")) await runBeside(opened.core, bus, connector, config, log, stack);
    else await runAlone(bus, connector, config, log, stack);
  }
  const running = stack.move();
  return { url, [Symbol.asyncDispose]: () => running[Symbol.asyncDispose]() };
}

/** Runs until aborted; prints `ready <url>` once everything answers. */
export async function up(config: Config, signal: AbortSignal): Promise<void> {
  await using running = await start(config);
  process.stdout.write(`ready ${running.url ?? config.roles.join(",")}\n`);
  if (!signal.aborted) await once(signal, "abort");
}
