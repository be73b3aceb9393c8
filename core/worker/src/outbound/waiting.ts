/**
 * How much room the queues of intents have, as this process remembers it.
 *
 * Counting costs what waits, up to the bound, so a tenant with a long queue must not have it counted for every intent
 * that it records, and least of all for every one that is refused. A count is good for a second, or until a 32nd part
 * of the room that it found is used up. So one process stays within the bounds, and where others record at the same
 * time, each of them may exceed a bound by a 32nd part of it at most.
 */
export interface QueueBounds {
  /** Unsettled intents of one identity, held ones included. */
  readonly perIdentity: number;
  readonly perWorkspace: number;
}

export type Waiting = Readonly<Record<"identity" | "workspace", number>>;
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
   * Takes a place in both queues.
   *
   * @param count called only when what is known does not answer it
   * @returns the queue that is full; undefined when there was room
   */
  async take(
    { workspaceId, identityId }: QueueOwner,
    bounds: QueueBounds,
    count: () => Promise<Waiting>,
  ): Promise<QueueName | undefined> {
    const keys = { identity: `${workspaceId} ${identityId}`, workspace: workspaceId };
    const identity = this.#fresh(keys.identity);
    const workspace = this.#fresh(keys.workspace);
    if (identity?.isFull === true) return "identity";
    if (workspace?.isFull === true) return "workspace";
    if (identity !== undefined && workspace !== undefined && identity.left > 0 && workspace.left > 0) {
      identity.left -= 1;
      workspace.left -= 1;
      return undefined;
    }
    const waiting = await count();
    const untilMs = this.#nowMs() + GOOD_FOR_MS;
    this.#remember(keys.identity, bounds.perIdentity - waiting.identity, untilMs);
    this.#remember(keys.workspace, bounds.perWorkspace - waiting.workspace, untilMs);
    if (waiting.identity >= bounds.perIdentity) return "identity";
    if (waiting.workspace >= bounds.perWorkspace) return "workspace";
    return undefined;
  }

  get size(): number {
    return this.#known.size;
  }

  #fresh(key: string): Known | undefined {
    const known = this.#known.get(key);
    return known !== undefined && known.untilMs > this.#nowMs() ? known : undefined;
  }

  #remember(key: string, room: number, untilMs: number): void {
    this.#known.delete(key);
    // The one that is recorded now takes the first place.
    const left = Math.max(0, Math.floor(room / PARTS) - 1);
    this.#known.set(key, { left, isFull: room <= 0, untilMs });
    if (this.#known.size <= this.#maxKeys) return;
    const oldest = this.#known.keys().next().value;
    if (oldest !== undefined) this.#known.delete(oldest);
  }
}
