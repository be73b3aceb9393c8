/** Starts a daemon from a configuration; a daemon's `main.ts` only chooses the bus and the connector. */
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { FabricError } from "@linkspan/envelopes";
import type { Bus } from "@linkspan/fabric";
import type { Logger } from "pino";
import type { DaemonConfig } from "../config.ts";
import type { Connector } from "../connector.ts";
import { type Daemon, runDaemon } from "./daemon.ts";
import { enrol, tokenDigest } from "../keys/enrolment.ts";
import { type DaemonKeys, readKeyFile } from "../keys/key-file.ts";

export interface RunningOptions {
  readonly config: DaemonConfig;
  readonly connector: Connector;
  readonly bus: Bus;
  readonly log: Logger;
}

/**
 * Enrols if there is no key file yet, or if the token differs from the key file's (a rotation), then runs.
 *
 * @throws FabricError `request.*`, `envelope.*`, `bus.unavailable` from the first enrolment
 */
export async function startDaemon(
  { config, connector, bus, log }: RunningOptions,
  signal: AbortSignal,
): Promise<Daemon> {
  const kept = await readKeyFile(config.keyFile);
  const keys = kept === undefined ? await enrolNow(config, signal) : await renewed(kept, config, log, signal);
  const { instance } = config;
  const { signer, sealKeys, coreKeys, partitions, generation } = keys;
  const bootId = randomUUID();
  const own = { signer, sealKeys, keys: coreKeys, partitions, generation };
  const options = { bus, connector, service: connector.service, instance, ...own, log, bootId };
  return runDaemon(options, signal);
}

/** @throws FabricError as {@link startDaemon} */
export async function keysFor(config: DaemonConfig, log: Logger, signal: AbortSignal): Promise<DaemonKeys> {
  const kept = await readKeyFile(config.keyFile);
  return kept === undefined ? enrolNow(config, signal) : renewed(kept, config, log, signal);
}

/**
 * Without another token, or when the token is not valid, the keys stay unchanged: they may well be in force.
 */
async function renewed(
  kept: DaemonKeys,
  config: DaemonConfig,
  log: Logger,
  signal: AbortSignal,
): Promise<DaemonKeys> {
  const { enrolTokenFile, coreUrl } = config;
  if (enrolTokenFile === undefined || coreUrl === undefined || kept.enrolledWith === undefined) return kept;
  try {
    const token = (await readFile(enrolTokenFile, "utf8")).trim();
    if (tokenDigest(token) === kept.enrolledWith) return kept;
    return await enrolNow(config, signal);
  } catch (error) {
    log.warn({ event: "keys.kept", err: error }, "the token is not good; the keys stay as they are");
    return kept;
  }
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
