/** Connector daemons: in one process with their core, or alone with a broker. */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { FabricError, sealKeysFrom, type Signer } from "@linkspan/envelopes";
import type { Bus } from "@linkspan/fabric";
import { type Connector, type Daemon, type DaemonConfig, runDaemon, startDaemon } from "@linkspan/daemon-kit";
import { currentLease, releaseLease } from "@linkspan/store";
import type { Core } from "@linkspan/worker";
import type { Logger } from "pino";
import { type Config, isAlone } from "../config.ts";
import { ownRecord, seedFile, signerFile } from "../keys.ts";
import { registerKey } from "./core.ts";

/** Enrols without a token: the core is in this process. */
export async function runBeside(
  core: Core,
  bus: Bus,
  connector: Connector,
  config: Config,
  log: Logger,
  stack: AsyncDisposableStack,
): Promise<Daemon> {
  const { service } = connector;
  const { instance } = config;
  if (isAlone(config)) await freeInstance(core, service, instance);
  const signer = await ownSigner(core, config.data, `daemons/${service}.${instance}.seed`);
  const sealKeys = sealKeysFrom(await seedFile(config.data, `daemons/${service}.${instance}.seal`));
  const holder = {
    issuers: [`daemon:${service}:${instance}`],
    purposes: ["envelope" as const],
    services: [service],
  };
  await registerKey(core, ownRecord(signer, { ...holder, seal: sealKeys.publicKey }, core.now()));
  const daemon = runDaemon(
    {
      bus,
      connector,
      service,
      instance,
      signer,
      sealKeys,
      keys: core.keys.records().filter((record) => record.issuers.includes("core")),
      partitions: core.namespace.partitions,
      generation: core.namespace.generation,
      log,
      bootId: randomUUID(),
    },
    new AbortController().signal,
  );
  return stack.use(daemon);
}

/** A revoked key stays revoked: its seed file is renamed, and a new one is generated. */
async function ownSigner(core: Core, data: string, name: string): Promise<Signer> {
  const signer = await signerFile(data, name);
  if (core.keys.get(signer.kid)?.record.revoked_at === undefined) return signer;
  await rename(join(data, name), join(data, `${name}.revoked-${signer.kid}`));
  return signerFile(data, name);
}

/**
 * Releases the lease of a previous holder, which may have been killed, so that nobody waits for it. Called
 * only where that holder cannot be alive any more.
 */
async function freeInstance(core: Core, service: string, instance: string): Promise<void> {
  const lease = await currentLease(core.database.pool, service, instance);
  if (lease !== undefined) await releaseLease(core.database.pool, lease);
}

/**
 * For a core in another process: enrols with the one-time token if the daemon has no keys yet.
 *
 * @throws FabricError `request.invalid` when it has neither; otherwise as the core answers
 */
export async function runAlone(
  bus: Bus,
  connector: Connector,
  config: Config,
  log: Logger,
  stack: AsyncDisposableStack,
): Promise<Daemon> {
  const { service } = connector;
  const directory = join(config.data, "daemons");
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const keyFile = join(directory, `${service}.${config.instance}.json`);
  if (config.enrol_token_file === undefined && !existsSync(keyFile)) {
    throw new FabricError(
      "request.invalid",
      `${keyFile} does not exist: run linkspan daemon enrol ${service} where the core is, and name the file ` +
        "with its token in LINKSPAN_ENROL_TOKEN_FILE",
    );
  }
  const own: DaemonConfig = {
    instance: config.instance,
    busUrl: config.amqp_url ?? "",
    keyFile,
    coreUrl: config.core_url ?? `http://${config.host}:${config.port}`,
    logLevel: config.log_level === "silent" ? "error" : config.log_level,
    ...(config.enrol_token_file !== undefined && { enrolTokenFile: config.enrol_token_file }),
  };
  return stack.use(await startDaemon({ config: own, connector, bus, log }, new AbortController().signal));
}

const LOOK_MS = 20;
/** Another process may hold the instance. This one is then on standby, which counts as ready. */
const PATIENCE_MS = 3_000;

/** Resolves when each daemon serves, so that linking an account right after `ready` is not refused. */
export async function untilServing(
  daemons: readonly Pick<Daemon, "isServing">[],
  signal?: AbortSignal,
): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (daemons.some((daemon) => !daemon.isServing)) {
    if (performance.now() > deadline || signal?.aborted === true) return;
    await pause(LOOK_MS);
  }
}
