/**
 * How much room the queues of intents have, as this process remembers it.
 *
 * Counting costs what waits, up to the bound, so a tenant with a long queue must not have it counted for every intent
 * that it records, and least of all for every one that is refused. A count is good for a second, or until a 32nd part
 * of the room that it found is used up. So one process stays within the bounds, and where others record at the same
 * time, each of them may exceed a bound by a 32nd part of it at most.
 */
import type { Queues } from "@linkspan/store";

export interface QueueBounds {
  /** Unsettled intents of one identity, held ones included. */
  readonly perIdentity: number;
  readonly perWorkspace: number;
}

/** How much waits in each of the queues that were asked for, in their order. */
export interface Counts {
  readonly identities: readonly number[];
  readonly workspaces: readonly number[];
}
export type QueueName = "identity" | "workspace";

export interface QueueOwner {
  readonly workspaceId: string;
  readonly identityId: string;
}

interface Known {
  /** Intents that may be recorded before the next count. */
  left: number;
  readonly isFull: boolean;
  readonly untilMs: number;
}

const GOOD_FOR_MS = 1_000;
/** The part of the room that is used without counting again. */
const PARTS = 32;

export class WaitingRoom {
  readonly #nowMs: () => number;
  readonly #maxKeys: number;
  /** In the order of counting: the first one is the oldest. */
  readonly #known = new Map<string, Known>();

  /** @param nowMs a clock that never goes back */
  constructor(nowMs: () => number = () => performance.now(), maxKeys = 20_000) {
    this.#nowMs = nowMs;
    this.#maxKeys = maxKeys;
  }

  /**
   * Takes a place in both queues for each of many, in their order. Queues of which too little is known are counted,
   * all of them at once.
   *
   * @param count called only when what is known does not answer it; each queue comes once
   * @returns for each the queue that is full; undefined where there was room
   */
  async take(
    owners: readonly QueueOwner[],
    bounds: QueueBounds,
    count: (queues: Queues) => Promise<Counts>,
  ): Promise<(QueueName | undefined)[]> {
    const exact = await this.#count(owners, bounds, count);
    const taken = new Map<string, number>();
    const untold: number[] = [];
    const answers = owners.map((owner, at) => {
      const keys = keysOf(owner);
      const room = (key: string): number | undefined => {
        const left = exact.get(key) ?? this.#fresh(key)?.left;
        return left === undefined ? undefined : left - (taken.get(key) ?? 0);
      };
      for (const queue of ["identity", "workspace"] as const) {
        const key = keys[queue];
        if (this.#fresh(key)?.isFull === true || (exact.has(key) && (room(key) ?? 0) <= 0)) return queue;
      }
      if ((room(keys.identity) ?? 0) <= 0 || (room(keys.workspace) ?? 0) <= 0) {
        untold.push(at);
        return undefined;
      }
      for (const key of Object.values(keys)) taken.set(key, (taken.get(key) ?? 0) + 1);
      return undefined;
    });
    this.#remember(exact, taken);
    if (untold.length === 0) return answers;
    // Others took what was known while it was counted.
    const late = await this.take(
      untold.map((at) => owners[at] as QueueOwner),
      bounds,
      count,
    );
    for (const [i, at] of untold.entries()) answers[at] = late[i];
    return answers;
  }

  /** @returns the exact room of each queue that had to be counted, by key */
  async #count(
    owners: readonly QueueOwner[],
    bounds: QueueBounds,
    count: (queues: Queues) => Promise<Counts>,
  ): Promise<Map<string, number>> {
    const wanted = new Map<string, number>();
    for (const key of owners.flatMap((owner) => Object.values(keysOf(owner))))
      wanted.set(key, (wanted.get(key) ?? 0) + 1);
    const isTold = (key: string): boolean => {
      const known = this.#fresh(key);
      return known !== undefined && (known.isFull || known.left >= (wanted.get(key) ?? 0));
    };
    const identities = new Map<string, QueueOwner>();
    const workspaces = new Map<string, string>();
    for (const owner of owners) {
      const keys = keysOf(owner);
      if (!isTold(keys.identity)) identities.set(keys.identity, owner);
      if (!isTold(keys.workspace)) workspaces.set(keys.workspace, owner.workspaceId);
    }
    if (identities.size === 0 && workspaces.size === 0) return new Map();
    const waiting = await count({
      identities: [...identities.values()],
      workspaces: [...workspaces.values()],
    });
    return new Map([
      ...[...identities.keys()].map(
        (key, i) => [key, bounds.perIdentity - (waiting.identities[i] ?? 0)] as const,
      ),
      ...[...workspaces.keys()].map(
        (key, i) => [key, bounds.perWorkspace - (waiting.workspaces[i] ?? 0)] as const,
      ),
    ]);
  }

  get size(): number {
    return this.#known.size;
  }

  #fresh(key: string): Known | undefined {
    const known = this.#known.get(key);
    return known !== undefined && known.untilMs > this.#nowMs() ? known : undefined;
  }

  #remember(exact: ReadonlyMap<string, number>, taken: ReadonlyMap<string, number>): void {
    const untilMs = this.#nowMs() + GOOD_FOR_MS;
    for (const [key, count] of taken) {
      const known = this.#fresh(key);
      if (known !== undefined && !exact.has(key)) known.left -= count;
    }
    for (const [key, room] of exact) {
      this.#known.delete(key);
      const left = Math.max(0, Math.floor(room / PARTS) - (taken.get(key) ?? 0));
      this.#known.set(key, { left, isFull: room <= 0, untilMs });
    }
    for (const key of this.#known.keys()) {
      if (this.#known.size <= this.#maxKeys) return;
      this.#known.delete(key);
    }
  }
}

function keysOf({ workspaceId, identityId }: QueueOwner): Record<QueueName, string> {
  return { identity: `${workspaceId} ${identityId}`, workspace: workspaceId };
}
