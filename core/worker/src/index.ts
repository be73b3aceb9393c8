export { requireAuthority, speakerOf } from "./authority.ts";
export type { Core, Metrics, Namespace } from "./core.ts";
export { ALL_WORKSPACES, switchConnector } from "./flags/switch.ts";
export { type CatalogEntry, catalog, InstanceCatalog, sessionEntry } from "./identity/catalog.ts";
export { sweepCredentials } from "./identity/credential.ts";
export { callbackPath, cancelSession, openSession, readSession, submitCredentials } from "./identity/link.ts";
export { groupedRows, rowAuthority } from "./identity/row-commits.ts";
export { unlink } from "./identity/unlink.ts";
export {
  announceKeys,
  endReplacedKey,
  followKeys,
  replaceableKey,
  type Revocation,
  revokeKey,
} from "./keys.ts";
export { type MediaLink, mediaLink, readMediaLink } from "./media/links.ts";
export { type Media, type MediaLimits, mediaOf } from "./media/media.ts";
export { findMedia, type ReadableMedia } from "./media/read-media.ts";
export { storeMedia, type Upload } from "./media/store-media.ts";
export { sweepMedia } from "./media/sweep-media.ts";
export { cancelIntent } from "./outbound/cancel.ts";
export { recordIntent, recordIntents } from "./outbound/record.ts";
export { Recording } from "./outbound/recording.ts";
export type { IntentRequest, Recorded } from "./outbound/intent-request.ts";
export { PartitionBalance } from "./inbound/partitions.ts";
export { inboundQueue } from "./topology.ts";
export { type Replayed, type ReplayRequest, replayEvents } from "./inbound/replay.ts";
export { type Resolution, resolveIntent } from "./outbound/resolve.ts";
export { DEFAULT_INTENT_LIMITS, type IntentLimits } from "./outbound/room.ts";
export { WaitingRoom } from "./outbound/waiting.ts";
export { dropQuarantined, retryQuarantined } from "./quarantine.ts";
export {
  REFUSAL_KINDS,
  type RefusalKind,
  type RefusalLog,
  type RefusalNote,
  Refusals,
  type RefusalOptions,
} from "./refusals.ts";
export { giveUpStuck } from "./stuck.ts";
export { type Retention, sweepExpired, sweepMonths, sweepRetention, sweepSessions } from "./sweeps.ts";
export { tellChanged } from "./sync/changed.ts";
export { VERSION } from "./sync/hello.ts";
export { type Wake, Wakes } from "./wakes.ts";
export { startWorker, type Worker } from "./worker.ts";
