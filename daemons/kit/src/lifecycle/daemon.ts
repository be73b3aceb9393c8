/**
 * The life of a daemon: send `hello` until the instance is held, serve a term, and start again when the lease
 * is lost.
 *
 * All durable data is in the core; a daemon may be killed at any moment and another process takes over.
 */
import { type HelloReply, KeyRing } from "@linkspan/envelopes";
import type { LeaseAnswer, Tenure } from "@linkspan/fabric";
import { Author } from "../bus/author.ts";
import { systemClock } from "../shared/clock.ts";
import { CoreCalls } from "../bus/core-calls.ts";
import { signsBatches, takesMany } from "../bus/core-version.ts";
import { vaultSealKeyOf, withCoreKeys } from "../keys/core-keys.ts";
import type { DaemonContext, DaemonOptions, Tuning } from "./daemon-context.ts";
import { Carried } from "../inbound/carried.ts";
import { RefuseToRun, serveTerms } from "./lease.ts";
import { Memory } from "../outbound/memory.ts";
import { serveTerm } from "./term.ts";

export const KIT_VERSION = "0.1.0";

export interface Daemon extends AsyncDisposable {
  /** Lease epoch while the instance is held. */
  readonly epoch: number | undefined;
  /**
   * Whether it keeps its connections without sending or asking anything, because its lease was not renewed.
   */
  readonly isMute: boolean;
  /** Whether it receives everything: the term has begun. */
  readonly isServing: boolean;
  /** Resolves when the daemon has stopped; rejects when it refuses to run. */
  readonly done: Promise<void>;
}

/**
 * Runs a connector until `signal` is aborted or the daemon is disposed; in both cases it stops cleanly.
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

  /** Number of `hello` requests since the last answer; each of them may have been granted the lease. */
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
    reopen: { minMs: 1_000, maxMs: 300_000 },
    ...options,
    clock,
    log,
    tuning,
    keyRing,
    memory: new Memory(),
    carried: new Carried(),
    vaultSealKey: () => vaultSealKeyOf(keyRing),
    coreTakesMany: () => takesMany(coreVersion),
    coreSignsBatches: () => signsBatches(coreVersion),
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
  // Releases the lease, so that the next holder need not wait for its end.
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
