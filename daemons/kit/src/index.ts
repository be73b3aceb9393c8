export { type BackoffOptions, backoffMs } from "./backoff.ts";
export { type Clock, fromBusClock, pause, systemClock } from "./clock.ts";
export { type DaemonConfig, DaemonConfigSchema, parseConfig } from "./config.ts";
export * from "./connector.ts";
export { controlQueue, sendQueue } from "./control/queues.ts";
export { type Daemon, KIT_VERSION, runDaemon } from "./daemon.ts";
export type { DaemonOptions, Tuning } from "./daemon-context.ts";
export { type EnrolOptions, enrol } from "./enrolment.ts";
export {
  isSpecialAddress,
  publicLookup,
  publicOnly,
  RefusedAddress,
  requirePublicPeer,
} from "./net/addresses.ts";
export { type DaemonKeys, type KeyFile, KeyFileSchema, readKeyFile, writeKeyFile } from "./key-file.ts";
export { claimStrayError } from "./identity/barrier.ts";
export { RefuseToRun } from "./lease.ts";
export type { Secrets } from "./secrets.ts";
export { type RunningOptions, startDaemon } from "./start.ts";
