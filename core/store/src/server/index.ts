export { DirectoryLock, type LockHolder } from "./directory-lock.ts";
export { EmbeddedServer, type EmbeddedServerOptions } from "./embedded-server.ts";
export type { ServerEvent, ServerLog } from "./log.ts";
export type { ServerExit } from "./postmaster.ts";
export type { ServerState } from "./supervisor.ts";
export { type StopStep, type WatchOptions, Watcher } from "./watcher.ts";
