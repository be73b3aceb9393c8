/** The dependencies of every part of the worker. Built once, in a composition root. */
import type { Bus } from "@linkspan/fabric";
import type { KeyRing, Signer } from "@linkspan/envelopes";
import type { Database } from "@linkspan/store";
import type { Vault } from "@linkspan/vault";
import type { Logger } from "pino";
import type { Media } from "./media/media.ts";
import type { AccountLimits } from "./identity/account-limits.ts";
import type { Recording } from "./outbound/recording.ts";
import type { IntentLimits } from "./outbound/room.ts";
import type { WaitingRoom } from "./outbound/waiting.ts";
import type { RefusalLog } from "./refusals.ts";
import type { Wakes } from "./wakes.ts";

export interface Core {
  readonly database: Database;
  readonly bus: Bus;
  readonly vault: Vault;
  /** The core's key: envelopes and tickets. */
  readonly signer: Signer;
  /** Keys in force; replaced as a whole when the registry changes. */
  readonly keys: KeyRing;
  readonly namespace: Namespace;
  readonly wakes: Wakes;
  readonly log: Logger;
  readonly now: () => Date;
  readonly metrics: Metrics;
  /** Records refusals for the audit. */
  readonly refusals: RefusalLog;
  /** Limits on new intents; absent: the defaults. */
  readonly intentLimits?: Partial<IntentLimits>;
  /** Limits on accounts; absent: the defaults. */
  readonly accountLimits?: AccountLimits;
  /** Absent: this process neither stores nor serves media. */
  readonly media?: Media;
  /** Keeps the counts of waiting intents; absent: they are counted for each intent. */
  readonly waitingRoom?: WaitingRoom;
  /** What those who record intents share; absent: each intent is committed by itself. */
  readonly recording?: Recording;
}

export interface Namespace {
  readonly name: string;
  readonly generation: number;
  readonly partitions: number;
  /** `optional` accepts unsigned envelopes of foreign daemons; for development only. */
  readonly signatures: "required" | "optional";
  /**
   * Workspace of unsigned envelopes that name none. Default: that of the namespace, `_`, which nobody can
   * read.
   */
  readonly foreignWorkspace?: string;
  /** Whether committed events are also published to subscribers on the bus. */
  readonly fanOut: boolean;
}

/** One function per counted event; label values come from closed sets. */
export interface Metrics {
  events(outcome: "stored" | "duplicate" | "conflict" | "refused", service: string, count: number): void;
  intent(state: string, service: string): void;
  quarantined(code: string): void;
  inboundBatch(seconds: number, size: number): void;
}
