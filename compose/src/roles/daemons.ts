/** Connector daemons: beside their core in one process, or on their own against a broker. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { sealKeysFrom } from "@linkspan/envelopes";
import type { Bus } from "@linkspan/fabric";
import { type Connector, type Daemon, type DaemonConfig, runDaemon, startDaemon } from "@linkspan/daemon-kit";
import type { Core } from "@linkspan/worker";
import type { Logger } from "pino";
import type { Config } from "../config.ts";
import { ownRecord, seedFile, signerFile } from "../keys.ts";
import { registerKey } from "./core.ts";

/** Enrols by itself: the core is in this process. */
export async function runBeside(
  core: Core,
  bus: Bus,
  connector: Connector,
  config: Config,
  log: Logger,
): Promise<Daemon> {
  const { service } = connector;
  const { instance } = config;
  const signer = await signerFile(config.data, `daemons/${service}.${instance}.seed`);
  const sealKeys = sealKeysFrom(await seedFile(config.data, `daemons/${service}.${instance}.seal`));
  const holder = {
    issuers: [`daemon:${service}:${instance}`],
    purposes: ["envelope" as const],
    services: [service],
  };
  await registerKey(core, ownRecord(signer, { ...holder, seal: sealKeys.publicKey }, core.now()));
  return runDaemon(
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
}

/** Against a core elsewhere: enrols with the one-time token if it has no keys yet. */
export async function runAlone(bus: Bus, connector: Connector, config: Config, log: Logger): Promise<Daemon> {
  const own: DaemonConfig = {
    instance: config.instance,
    busUrl: config.amqp_url ?? "",
    keyFile: join(config.data, `daemons/${connector.service}.${config.instance}.json`),
    logLevel: config.log_level === "silent" ? "error" : config.log_level,
    ...(config.core_url !== undefined && { coreUrl: config.core_url }),
    ...(config.enrol_token_file !== undefined && { enrolTokenFile: config.enrol_token_file }),
  };
  return startDaemon({ config: own, connector, bus, log }, new AbortController().signal);
}

const LOOK_MS = 20;
/** Another process may hold the instance; this one then stands by, which is as ready as it gets. */
const PATIENCE_MS = 5_000;

/** Resolves when each serves, so that who links an account after `ready` is not told to try again. */
export async function untilServing(daemons: readonly Daemon[]): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (daemons.some((daemon) => !daemon.isServing) && performance.now() < deadline) await pause(LOOK_MS);
}
