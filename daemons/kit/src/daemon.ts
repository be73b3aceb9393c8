/**
 * A daemon's life: say hello until the instance is ours, serve a term, and again when it is lost.
 *
 * Everything durable is the core's; a daemon may be killed at any moment and another process goes on.
 */
import { type HelloReply, KeyRing, type KeyRecord, type SealKeys, type Signer } from "@linkspan/envelopes";
import type { Bus, LeaseAnswer, Tenure } from "@linkspan/fabric";
import type { Logger } from "pino";
import { Author } from "./author.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { Connector } from "./connector.ts";
import { CoreCalls } from "./core-calls.ts";
import { takesMany } from "./core-version.ts";
import { vaultSealKeyOf, withCoreKeys } from "./core-keys.ts";
import { Carried } from "./identity/carried.ts";
import { RefuseToRun, serveTerms } from "./lease.ts";
import { Memory } from "./sending/memory.ts";
import { serveTerm } from "./term.ts";

export const KIT_VERSION = "0.1.0";

export interface DaemonOptions {
  readonly bus: Bus;
  readonly connector: Connector;
  /** Service segment, such as `irc`; the connector's own. */
  readonly service: string;
  readonly instance: string;
  readonly signer: Signer;
  readonly sealKeys: SealKeys;
  /** Pinned records of the core's keys, as enrolment gave them. */
  readonly keys: readonly KeyRecord[];
  readonly partitions: number;
  /** Generation of the namespace's declaration; absent: not compared. */
  readonly generation?: number;
  readonly log: Logger;
  /** Drawn once per process; names the holder of the lease. */
  readonly bootId: string;
  readonly clock?: Clock;
  readonly tuning?: Partial<Tuning>;
  /** Waiting time before a failed connection is opened again, milliseconds. Default 1,000 doubling to 300,000. */
  readonly reopen?: { readonly firstMs: number; readonly maxMs: number };
}

export interface Tuning {
  /** Distance between two identities' openings, milliseconds. Default 50. */
  readonly openEveryMs: number;
  /** Least distance between two checkpoints of one identity, milliseconds. Default 500. */
  readonly checkpointEveryMs: number;
  /** How long the core may take to answer `hello`, milliseconds. Default 2,000. */
  readonly helloTimeoutMs: number;
}

/** What lives as long as the process. */
export interface DaemonContext extends Required<Omit<DaemonOptions, "keys" | "generation" | "tuning">> {
  readonly keyRing: KeyRing;
  readonly memory: Memory;
  readonly carried: Carried;
  readonly tuning: Tuning;
  readonly vaultSealKey: () => Uint8Array | undefined;
  readonly keysChanged: () => void;
  /** Whether the core takes many questions or statuses in one envelope, as it said last. */
  readonly coreTakesMany: () => boolean;
}

export interface Daemon extends AsyncDisposable {
  /** Lease epoch while the instance is held. */
  readonly epoch: number | undefined;
  /** Whether it keeps its connections without saying or asking anything, because its lease was not renewed. */
  readonly isMute: boolean;
  /** Whether it takes in everything: the term has begun. */
  readonly isServing: boolean;
  /** Resolves when the daemon has stopped; rejects when it refuses to run. */
  readonly done: Promise<void>;
}

/**
 * Runs a connector until `signal` is aborted or the daemon is disposed; either way it stops politely.
 * `done` rejects with `request.invalid` when the namespace has another partition count or generation.
 */
export function runDaemon(options: DaemonOptions, signal: AbortSignal): Daemon {
  const stopping = new AbortController();
  const stop = AbortSignal.any([signal, stopping.signal]);
  const standing: Standing = { epoch: undefined, isServing: false, tenure: undefined };
  const done = live(options, stop, standing);
  done.catch(() => undefined);
  return {
    get epoch() {
      return standing.epoch;
    },
    get isServing() {
      return standing.isServing;
    },
    get isMute() {
      return standing.tenure?.isHeld() === false;
    },
    done,
    [Symbol.asyncDispose]: async () => {
      stopping.abort();
      await Promise.allSettled([done]);
    },
  };
}

interface Standing {
  epoch: number | undefined;
  tenure: Tenure | undefined;
  isServing: boolean;
}

async function live(options: DaemonOptions, stop: AbortSignal, standing: Standing): Promise<void> {
  const clock = options.clock ?? systemClock;
  const { service, instance, bootId } = options;
  const log = options.log.child({ service, instance, boot_id: bootId });
  const keyRing = new KeyRing(options.keys);
  const tuning: Tuning = {
    openEveryMs: 50,
    checkpointEveryMs: 500,
    helloTimeoutMs: 2_000,
    ...options.tuning,
  };

  /** Questions since the last answer: each of them may have been granted the lease. */
  let unanswered = 0;
  let coreVersion: string | undefined;
  const sayHello = async (epoch: number | undefined, leaving = false): Promise<LeaseAnswer> => {
    const author = new Author({ ...options, clock, ...(epoch !== undefined && { epoch }) });
    const hello = {
      boot_id: bootId,
      version: KIT_VERSION,
      stays: true,
      ...(epoch !== undefined && { epoch }),
      ...(leaving && { leaving }),
    };
    const calls = new CoreCalls(options.bus, author, keyRing, clock);
    const to = { workspaceId: "_", timeoutMs: tuning.helloTimeoutMs };
    unanswered += 1;
    const reply = await calls.call("core", "hello", hello, to);
    unanswered = 0;
    coreVersion = reply.version;
    refuseOtherNamespace(reply, options);
    withCoreKeys(keyRing, reply.keys, log);
    return leaseOf(reply);
  };

  const daemon: DaemonContext = {
    reopen: { firstMs: 1_000, maxMs: 300_000 },
    ...options,
    clock,
    log,
    tuning,
    keyRing,
    memory: new Memory(),
    carried: new Carried(),
    vaultSealKey: () => vaultSealKeyOf(keyRing),
    coreTakesMany: () => takesMany(coreVersion),
    keysChanged: () => {
      sayHello(standing.epoch).catch((error: unknown) => log.warn({ event: "hello.unanswered", err: error }));
    },
  };

  let kept: number | undefined;
  await serveTerms(
    {
      clock,
      log,
      beat: (epoch) => sayHello(epoch),
      work: async (tenure, stopped) => {
        standing.epoch = tenure.epoch;
        standing.tenure = tenure;
        log.info({ event: "lease.held", epoch: tenure.epoch });
        try {
          await serveTerm(daemon, tenure, stopped, () => {
            standing.isServing = true;
          });
        } finally {
          standing.epoch = undefined;
          standing.tenure = undefined;
          standing.isServing = false;
          kept = tenure.signal.aborted ? undefined : tenure.epoch;
          log.info({ event: "lease.left", epoch: tenure.epoch, lost: tenure.signal.aborted });
        }
      },
    },
    stop,
  );
  // So that the next holder need not wait for the lease to run out.
  if (kept !== undefined || unanswered > 0) {
    await sayHello(kept, true).catch((error: unknown) => log.info({ event: "lease.kept", err: error }));
  }
}

function leaseOf({ lease }: HelloReply): LeaseAnswer {
  if (lease.state === "taken") return { state: "taken", retryAfterMs: lease.retry_after_ms };
  const { epoch, ttl_ms: ttlMs, stay_ms: stayMs } = lease;
  return { state: "held", epoch, ttlMs, ...(stayMs !== undefined && { stayMs }) };
}

function refuseOtherNamespace(reply: HelloReply, { partitions, generation }: DaemonOptions): void {
  if (reply.partitions === partitions && (generation ?? reply.generation) === reply.generation) return;
  throw new RefuseToRun(
    "request.invalid",
    `the namespace has ${reply.partitions} partitions in generation ${reply.generation}, ` +
      `but this daemon is configured for ${partitions} in generation ${generation ?? "any"}`,
  );
}
