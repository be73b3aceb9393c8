/** From a configuration to a running daemon; the one thing left to a daemon's `main.ts` is its bus and connector. */
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { FabricError } from "@linkspan/envelopes";
import type { Bus } from "@linkspan/fabric";
import type { Logger } from "pino";
import type { DaemonConfig } from "./config.ts";
import type { Connector } from "./connector.ts";
import { type Daemon, runDaemon } from "./daemon.ts";
import { enrol } from "./enrolment.ts";
import { type DaemonKeys, readKeyFile } from "./key-file.ts";

export interface RunningOptions {
  readonly config: DaemonConfig;
  readonly connector: Connector;
  readonly bus: Bus;
  readonly log: Logger;
}

/**
 * Enrols if there is no key file yet, then runs.
 *
 * @throws FabricError `request.*`, `bus.unavailable` from enrolment
 */
export async function startDaemon(
  { config, connector, bus, log }: RunningOptions,
  signal: AbortSignal,
): Promise<Daemon> {
  const keys = (await readKeyFile(config.keyFile)) ?? (await enrolNow(config, signal));
  const { instance } = config;
  const { signer, sealKeys, coreKeys, partitions, generation } = keys;
  const bootId = randomUUID();
  const own = { signer, sealKeys, keys: coreKeys, partitions, generation };
  const options = { bus, connector, service: connector.service, instance, ...own, log, bootId };
  return runDaemon(options, signal);
}

async function enrolNow(config: DaemonConfig, signal: AbortSignal): Promise<DaemonKeys> {
  const { coreUrl, enrolTokenFile, keyFile } = config;
  if (coreUrl === undefined || enrolTokenFile === undefined) {
    throw new FabricError(
      "request.invalid",
      `${keyFile} does not exist: run \`linkspan daemon enrol\` and set LINKSPAN_DAEMON_CORE_URL and ` +
        "LINKSPAN_DAEMON_ENROL_TOKEN_FILE",
    );
  }
  const token = (await readFile(enrolTokenFile, "utf8")).trim();
  return enrol({ coreUrl, token, keyFile, signal });
}
