/**
 * `linkspan up`: the composition root. Every driver is chosen and constructed below here. Parts are opened in
 * the order of their dependencies, and closed in reverse: daemons disconnect first, the database closes last.
 */
import { once } from "node:events";
import type { StopRequest } from "@linkspan/daemon-kit/process";
import type { Logger } from "pino";
import type { Config } from "../config.ts";
import type { Output } from "../output.ts";
import { newMetrics, runApi } from "../roles/api.ts";
import { busOf, type Connect } from "../roles/bus.ts";
import { type ConnectorRole, connectorsOf } from "../roles/connectors.ts";
import { type OpenCore, openCore, openDatabase, runCore } from "../roles/core.ts";
import { runAlone, runBeside, untilServing } from "../roles/daemons.ts";
import { Failures } from "../roles/failures.ts";
import { Faults } from "../roles/faults.ts";
import { runJobs } from "../roles/jobs.ts";
import { logTo } from "../roles/log.ts";
import { SupervisedDaemon } from "../roles/supervised.ts";

/** The running parts, for callers that start them in their own process. */
export interface Running extends AsyncDisposable {
  /** Of the HTTP API; undefined when this process does not have that role. */
  readonly url: string | undefined;
  /** Rejects when a part ended unexpectedly. Never resolves. */
  readonly failed: Promise<never>;
}

export interface StartOptions {
  /** Cancels the start; after the start, only disposal ends it. */
  readonly signal?: AbortSignal;
  /** The data directory is removed at the end, however this process ends. */
  readonly temporary?: boolean;
  /** The process belongs to Linkspan: its faults are logged and contained, or this requests its stop. */
  readonly fail?: (reason: string) => void;
}

/** Starts the configured roles; when something fails, every part that was started is stopped again. */
export async function start(config: Config, options: StartOptions = {}): Promise<Running> {
  await using stack = new AsyncDisposableStack();
  const { signal } = options;
  const log = logTo(config);
  const faults = new Faults();
  if (options.fail !== undefined) faults.watch(log, options.fail);
  signal?.addEventListener("abort", () => log.info({ event: "process.stopping", reason: signal.reason }));

  const fabric: Fabric = {
    config,
    log,
    stack,
    failures: new Failures(),
    connect: busOf(config, log),
    opened: undefined,
  };
  const daemons = connectorsOf(config).map((role) => supervise(fabric, role));
  const checks = [faults.check, ...daemons.map((daemon) => daemon.check)];
  const server = hasServer(config) ? await startServer(fabric, faults, checks, options) : undefined;
  fabric.opened = server?.opened;
  for (const daemon of daemons) {
    signal?.throwIfAborted();
    await daemon.start();
    stack.use(daemon);
  }
  await untilServing(daemons, signal);
  signal?.throwIfAborted();
  const running = stack.move();
  return {
    url: server?.url,
    failed: fabric.failures.first,
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

interface Fabric {
  readonly config: Config;
  readonly log: Logger;
  readonly stack: AsyncDisposableStack;
  readonly failures: Failures;
  readonly connect: Connect;
  /** Set once the core is open. */
  opened: OpenCore | undefined;
}

function hasServer({ roles }: Config): boolean {
  return roles.includes("core") || roles.includes("api");
}

/** Started later, when there is a core for it to work with. */
function supervise(fabric: Fabric, { service, open }: ConnectorRole): SupervisedDaemon {
  const { config, log, connect, failures } = fabric;
  const isOnly = !hasServer(config) && connectorsOf(config).length === 1;
  return new SupervisedDaemon({
    name: `${service}.${config.instance}`,
    log,
    launch: async (stack) => {
      const bus = stack.use(await connect(service));
      const connector = await open();
      const beside = config.roles.includes("core") ? fabric.opened?.core : undefined;
      const daemon =
        beside === undefined
          ? await runAlone(bus, connector, config, log, stack)
          : await runBeside(beside, bus, connector, config, log, stack);
      // If it is the only work of the process, the refusal must be visible to the operator.
      if (isOnly) failures.watch(daemon.done);
      return daemon;
    },
  });
}

async function startServer(
  { config, log, stack, failures, connect }: Fabric,
  faults: Faults,
  checks: Parameters<typeof runApi>[3],
  { signal, temporary = false }: StartOptions,
): Promise<{ readonly opened: OpenCore; readonly url: string | undefined }> {
  const { registry, metrics } = newMetrics();
  faults.countTo(registry);
  const { database, url: databaseUrl } = await openDatabase(config, log, stack, {
    temporary,
    ...(signal !== undefined && { signal }),
  });
  signal?.throwIfAborted();
  const bus = stack.use(await connect("core"));
  const opened = await openCore(config, bus, database, metrics, log, stack);
  if (config.roles.includes("core")) {
    failures.watch((await runCore(opened, stack)).ended);
    const retention = { days: config.retention_days, auditDays: config.audit_retention_days };
    await runJobs(opened, config.redis_url ?? databaseUrl, retention, log, stack);
  }
  signal?.throwIfAborted();
  const url = config.roles.includes("api")
    ? await runApi(opened, config, registry, checks, log, stack)
    : undefined;
  return { opened, url };
}

/**
 * Runs until asked to stop; prints `ready <url>` once everything answers.
 *
 * @returns whether it ended without a fault
 * @throws what prevented the start, or ended a part that all others need
 */
export async function up(config: Config, out: Output, stop: StopRequest): Promise<boolean> {
  const { signal } = stop;
  try {
    await using running = await start(config, { signal, fail: stop.fail });
    out.result({ ready: running.url ?? config.roles }, `ready ${running.url ?? config.roles.join(",")}`);
    const failed = running.failed.catch((error: unknown) => {
      stop.fail("a part failed");
      throw error;
    });
    failed.catch(() => undefined); // also when nobody waits for it any more
    if (!signal.aborted) await Promise.race([once(signal, "abort"), failed]);
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error;
  }
  return !stop.failed;
}
