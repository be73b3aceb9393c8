export { type Backoff, backoffMs } from "@linkspan/time";
export { type Clock, fromBusClock, pause, systemClock } from "./shared/clock.ts";
export { type DaemonConfig, DaemonConfigSchema, parseConfig } from "./config.ts";
export * from "./connector.ts";
export { controlQueue, sendQueue } from "./deliveries/queues.ts";
export { type Daemon, KIT_VERSION, runDaemon } from "./lifecycle/daemon.ts";
export type { DaemonOptions, Tuning } from "./lifecycle/daemon-context.ts";
export { type EnrolOptions, enrol } from "./keys/enrolment.ts";
export {
  isSpecialAddress,
  publicLookup,
  publicOnly,
  RefusedAddress,
  requirePublicPeer,
} from "./net/addresses.ts";
export { type DaemonKeys, type KeyFile, KeyFileSchema, readKeyFile, writeKeyFile } from "./keys/key-file.ts";
export { claimStrayError } from "./identity/barrier.ts";
export { RefuseToRun } from "./lifecycle/lease.ts";
export type { Secrets } from "./secrets.ts";
export { type RunningOptions, startDaemon } from "./lifecycle/start.ts";
