/**
 * One transaction for what several partitions, or several requests, commit at the same moment.
 *
 * Each partition waits for its own batch before it commits the next one, so its order is kept whatever other
 * batches are in the group. While one transaction runs, others are collected for the next. A group that fails
 * is split and each batch is tried alone, so that an error of one does not affect others. A batch
 * whose partition moved to another worker while it waited here is not committed: the other worker has
 * received it again, and perhaps later batches.
 */
import { blameOf, FabricError, isFabricError } from "@linkspan/envelopes";

interface Waiting<T, R> {
  readonly items: readonly T[];
  readonly isCurrent: () => boolean;
  readonly resolve: (result: R) => void;
  readonly reject: (error: unknown) => void;
}

export interface GroupOptions<T> {
  /** Default: 1. */
  readonly weigh?: (item: T) => number;
  /** Whether a group that failed with this error is split; otherwise all of it fails. Default: always. */
  readonly mayPart?: (error: unknown) => boolean;
}

export class GroupCommit<T, R> {
  readonly #commit: (items: readonly T[]) => Promise<R>;
  readonly #maxWeight: number;
  readonly #weigh: (item: T) => number;
  readonly #mayPart: (error: unknown) => boolean;
  #waiting: Waiting<T, R>[] = [];
  #running = false;

  /**
   * @param commit stores all items, or rejects and stores nothing; called one after the other
   * @param maxWeight of a group, unless a single batch weighs more
   */
  constructor(
    commit: (items: readonly T[]) => Promise<R>,
    maxWeight = 1_000,
    { weigh = () => 1, mayPart = () => true }: GroupOptions<T> = {},
  ) {
    this.#commit = commit;
    this.#maxWeight = maxWeight;
    this.#weigh = weigh;
    this.#mayPart = mayPart;
  }

  /**
   * Resolves when these items are committed, with the result of their whole group.
   *
   * @param isCurrent called right before each try; false: the items must not be committed here any more
   * @throws FabricError `lease.lost`; or what `commit` rejects with
   */
  commit(items: readonly T[], isCurrent: () => boolean = () => true): Promise<R> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ items, isCurrent, resolve, reject });
      if (!this.#running) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    // Partitions that are about to commit join the first group.
    await Promise.resolve();
    while (this.#waiting.length > 0) await this.#together(this.#take());
    this.#running = false;
  }

  #take(): Waiting<T, R>[] {
    const group: Waiting<T, R>[] = [];
    let size = 0;
    for (const one of this.#waiting) {
      const weight = one.items.reduce((sum, item) => sum + this.#weigh(item), 0);
      if (group.length > 0 && size + weight > this.#maxWeight) break;
      group.push(one);
      size += weight;
    }
    this.#waiting = this.#waiting.slice(group.length);
    return group;
  }

  async #together(gathered: readonly Waiting<T, R>[]): Promise<void> {
    const group = gathered.filter((one) => one.isCurrent());
    const late = new FabricError("lease.lost", "another worker takes this partition in by now");
    for (const one of gathered) if (!group.includes(one)) one.reject(late);
    if (group.length === 0) return;
    try {
      const result = await this.#commit(group.flatMap(({ items }) => items));
      for (const { resolve } of group) resolve(result);
    } catch (error) {
      if (group.length === 1 || !this.#mayPart(error)) for (const one of group) one.reject(error);
      else for (const one of group) await this.#together([one]);
    }
  }
}

/** SQLSTATE of a lock that was waited for in vain. */
const LOCK_NOT_AVAILABLE = "55P03";

/**
 * Whether a group failed because of one of its members, so that each must be tried alone: the database refuses its
 * values, or somebody has locked its row. Any other error concerns the whole group.
 */
export function isOfOneMember(error: unknown): boolean {
  if (blameOf(error) === "message") return true;
  const cause = isFabricError(error) ? (error.cause as { readonly code?: unknown } | undefined) : undefined;
  return cause?.code === LOCK_NOT_AVAILABLE;
}
