/** The options of a daemon, and the objects that live as long as its process. */
import type { KeyRecord, KeyRing, SealKeys, Signer } from "@linkspan/envelopes";
import type { Bus } from "@linkspan/fabric";
import type { Logger } from "pino";
import type { Clock } from "../shared/clock.ts";
import type { Connector } from "../connector.ts";
import type { Carried } from "../inbound/carried.ts";
import type { Memory } from "../outbound/memory.ts";

export interface DaemonOptions {
  readonly bus: Bus;
  readonly connector: Connector;
  /** Service segment, such as `irc`; the connector's own. */
  readonly service: string;
  readonly instance: string;
  readonly signer: Signer;
  readonly sealKeys: SealKeys;
  /** Pinned records of the core's keys, as enrolment returned them. */
  readonly keys: readonly KeyRecord[];
  readonly partitions: number;
  /** Generation of the namespace's declaration; absent: not compared. */
  readonly generation?: number;
  readonly log: Logger;
  /** Generated once per process; identifies the holder of the lease. */
  readonly bootId: string;
  readonly clock?: Clock;
  readonly tuning?: Partial<Tuning>;
  /**
   * Waiting time before a failed connection is opened again, milliseconds. Default 1,000 doubling to 300,000.
   */
  readonly reopen?: { readonly minMs: number; readonly maxMs: number };
}

export interface Tuning {
  /** Delay between the openings of two identities, milliseconds. Default 50. */
  readonly openEveryMs: number;
  /** Least time between two checkpoints of one identity, milliseconds. Default 500. */
  readonly checkpointEveryMs: number;
  /** How long the core may take to answer `hello`, milliseconds. Default 2,000. */
  readonly helloTimeoutMs: number;
}

/** The objects that live as long as the process. */
export interface DaemonContext extends Required<Omit<DaemonOptions, "keys" | "generation" | "tuning">> {
  readonly keyRing: KeyRing;
  readonly memory: Memory;
  readonly carried: Carried;
  readonly tuning: Tuning;
  readonly vaultSealKey: () => Uint8Array | undefined;
  readonly keysChanged: () => void;
  /** Whether the core takes many questions or statuses in one envelope, by its last answer to `hello`. */
  readonly coreTakesMany: () => boolean;
  /** Whether the core may be told that this daemon verifies signatures of batches. */
  readonly coreSignsBatches: () => boolean;
}
