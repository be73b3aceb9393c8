/**
 * Distributes the partitions among the live core workers.
 *
 *   hold a worker lease → count the live workers → give back what is above one's share, or take what is free
 *
 * Every worker computes its share from the same ordered list, so no coordinator is needed. A partition moves
 * in steps: its owner stops the intake, finishes the current batch and only then gives the partition back. A
 * worker that cannot renew its lease stops its intake; its partitions are free when the lease has expired. A
 * partition whose queue cannot be opened does not block others: it is given back, so that another worker may
 * try and the health check sees it.
 */
import { holdLease, type Subscription, type Tenure, unlessAborted } from "@linkspan/fabric";
import {
  claimPartitions,
  liveWorkers,
  ownedPartitions,
  releasePartitions,
  releaseWorkerLease,
  renewWorkerLease,
  ensurePartitionOwners,
  type WorkerName,
} from "@linkspan/store";
import { type Clock, sleep, systemClock } from "@linkspan/time";
import type { Core } from "../core.ts";

export const WORKER_LEASE_MS = 5_000;
const BALANCE_MS = 500;

export interface BalanceOptions {
  readonly worker: string;
  /**
   * Starts the intake of one partition; draining it finishes the current batch.
   *
   * @param isOwned whether this worker owns the partition now. The answer is also right in a process that was
   *   suspended and resumed, and for a batch that took longer than the drain timeout
   */
  readonly open: (partition: number, isOwned: () => boolean) => Promise<Subscription>;
  readonly leaseMs?: number;
  readonly balanceMs?: number;
  readonly clock?: Clock;
}

/**
 * How many of `count` partitions belong to the worker at this place of `workers`. The shares differ by one at
 * most.
 */
export function shareOf(place: number, workers: number, count: number): number {
  return Math.floor(count / workers) + (place < count % workers ? 1 : 0);
}

export class PartitionBalance implements AsyncDisposable {
  readonly #core: Core;
  readonly #options: BalanceOptions;
  readonly #name: WorkerName;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  readonly #open = new Map<number, Subscription>();
  readonly #held: Promise<void>;
  #stopped: Promise<void> | undefined;

  /**
   * Resolves after the first round: the intake runs for every partition that was free, in this worker's share
   * and could be opened.
   */
  static async start(core: Core, options: BalanceOptions): Promise<PartitionBalance> {
    await ensurePartitionOwners(core.database.pool, core.namespace.name, core.namespace.partitions);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const balance = new PartitionBalance(core, options, resolve);
    balance.#held.then(resolve, reject);
    await promise;
    return balance;
  }

  private constructor(core: Core, options: BalanceOptions, onFirstRound: () => void) {
    this.#core = core;
    this.#options = options;
    this.#name = { namespace: core.namespace.name, worker: options.worker };
    this.#clock = options.clock ?? systemClock;
    const { leaseMs = WORKER_LEASE_MS } = options;
    this.#held = holdLease({
      acquire: async () => ({
        state: "held",
        epoch: await renewWorkerLease(core.database.pool, this.#name, leaseMs),
        ttlMs: leaseMs,
      }),
      whileHeld: (tenure) => this.#whileHeld(tenure, onFirstRound),
      signal: this.#stop.signal,
      clock: this.#clock,
    });
  }

  /** Partitions whose intake runs now. */
  get partitions(): readonly number[] {
    return [...this.#open.keys()].sort((a, b) => a - b);
  }

  /** Settles when it has ended; rejects when it failed with an unexpected error. */
  get ended(): Promise<void> {
    return this.#held;
  }

  /**
   * Stops the intake, finishes current batches, gives all partitions back. Further calls return the same
   * promise.
   */
  drain(): Promise<void> {
    this.#stopped ??= this.#drain();
    return this.#stopped;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.drain();
  }

  async #drain(): Promise<void> {
    this.#stop.abort();
    await this.#held;
    await releaseWorkerLease(this.#core.database.pool, this.#name).catch((error: unknown) => {
      this.#core.log.warn(
        { event: "partitions.not_released", err: error },
        "partitions could not be released; the lease expires by itself",
      );
    });
  }

  async #whileHeld(tenure: Tenure, onFirstRound: () => void): Promise<void> {
    const { signal } = tenure;
    try {
      while (!signal.aborted) {
        try {
          await unlessAborted(this.#round(tenure), signal);
          onFirstRound();
        } catch (error) {
          if (signal.aborted) break;
          this.#core.log.warn(
            { event: "partitions.not_balanced", err: error },
            "partitions could not be balanced; tried again in the next round",
          );
        }
        await sleep(this.#clock, this.#options.balanceMs ?? BALANCE_MS, signal);
      }
    } finally {
      await this.#close(this.partitions);
    }
  }

  async #round(tenure: Tenure): Promise<void> {
    const { pool } = this.#core.database;
    const workers = await liveWorkers(pool, this.#name.namespace);
    const place = workers.indexOf(this.#name.worker);
    if (place < 0) return; // the lease has just expired: the tenure ends
    const share = shareOf(place, workers.length, this.#core.namespace.partitions);
    let owned = await ownedPartitions(pool, this.#name);
    if (!tenure.isHeld()) return;
    await this.#close(this.partitions.filter((partition) => !owned.includes(partition)));
    if (owned.length > share) {
      const surplus = owned.slice(share);
      owned = owned.slice(0, share);
      await this.#close(surplus);
      await releasePartitions(pool, this.#name, surplus);
    } else if (owned.length < share) {
      owned = [...owned, ...(await claimPartitions(pool, this.#name, share - owned.length))];
    }
    if (!tenure.isHeld()) return;
    const fresh = owned.filter((partition) => !this.#open.has(partition));
    const taken = await Promise.all(fresh.map((partition) => this.#take(partition, tenure)));
    const failed = fresh.filter((_, at) => taken[at] === false);
    if (failed.length > 0 && tenure.isHeld()) await releasePartitions(pool, this.#name, failed);
  }

  /** Never rejects. @returns whether the partition could be opened */
  async #take(partition: number, tenure: Tenure): Promise<boolean> {
    let given = false;
    // True also while it stops: the current batch is finished.
    const isOwned = (): boolean =>
      this.#clock.now() < tenure.heldUntil() && (!given || this.#open.get(partition) === subscription);
    let subscription: Subscription | undefined;
    try {
      subscription = await this.#options.open(partition, isOwned);
      given = true;
      if (!tenure.isHeld()) {
        await subscription.drain();
        return true;
      }
      this.#open.set(partition, subscription);
      this.#core.log.info({ event: "partition.taken", partition });
      return true;
    } catch (error) {
      this.#core.log.warn(
        { event: "partition.not_taken", partition, err: error },
        "a partition could not be opened; given back, tried again soon",
      );
      return false;
    }
  }

  async #close(partitions: readonly number[]): Promise<void> {
    await Promise.all(
      partitions.map(async (partition) => {
        const subscription = this.#open.get(partition);
        if (subscription === undefined) return;
        await subscription.drain();
        this.#open.delete(partition);
        this.#core.log.info({ event: "partition.released", partition });
      }),
    );
  }
}
