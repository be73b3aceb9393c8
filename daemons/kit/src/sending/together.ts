/**
 * Gathers what is asked at the same moment. The first starts at once; what comes while it is under way shares the next
 * round. A round that takes long holds nobody up: after a while the next one starts beside it.
 */
import { type Clock, pause } from "../clock.ts";
import { childOf } from "../signals.ts";

/** How long a round has before the next may start beside it, milliseconds. */
const ROUND_MS = 500;

export interface TogetherOptions<T> {
  /** Members of one round at most. */
  readonly most: number;
  /** Bytes of one round at most, but for a single member. */
  readonly mostBytes: number;
  readonly bytesOf: (member: T) => number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

interface Waiting<T, R> {
  readonly member: T;
  readonly resolve: (result: R) => void;
  readonly reject: (error: unknown) => void;
}

export class Together<T, R> {
  readonly #round: (
    members: readonly T[],
    underWay: () => void,
  ) => Promise<readonly PromiseSettledResult<R>[]>;
  readonly #options: TogetherOptions<T>;
  #waiting: Waiting<T, R>[] = [];
  #running = false;

  /**
   * @param round does all of them, one result for each in their order; it may call `underWay` once the next round need
   *   not wait for it any more
   */
  constructor(
    round: (members: readonly T[], underWay: () => void) => Promise<readonly PromiseSettledResult<R>[]>,
    options: TogetherOptions<T>,
  ) {
    this.#round = round;
    this.#options = options;
  }

  /** @throws what its round rejects with, or what became of this member in it; the signal's reason */
  do(member: T): Promise<R> {
    this.#options.signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ member, resolve, reject });
      if (!this.#running) void this.#run();
    });
  }

  async #run(): Promise<void> {
    const { clock, signal } = this.#options;
    this.#running = true;
    while (this.#waiting.length > 0) {
      const over = childOf(signal);
      const free = Promise.withResolvers<void>();
      void this.#together(this.#take(), () => free.resolve()).finally(() => free.resolve());
      await Promise.race([free.promise, pause(clock, ROUND_MS, over.signal)]);
      over.abort();
    }
    this.#running = false;
  }

  #take(): Waiting<T, R>[] {
    const { most, mostBytes, bytesOf } = this.#options;
    let bytes = 0;
    let count = 0;
    for (const { member } of this.#waiting) {
      bytes += bytesOf(member);
      if (count === most || (count > 0 && bytes > mostBytes)) break;
      count += 1;
    }
    const taken = this.#waiting.slice(0, count);
    this.#waiting = this.#waiting.slice(count);
    return taken;
  }

  async #together(group: readonly Waiting<T, R>[], underWay: () => void): Promise<void> {
    try {
      const results = await this.#round(
        group.map(({ member }) => member),
        underWay,
      );
      for (const [at, { resolve, reject }] of group.entries()) {
        const result = results[at];
        if (result?.status === "fulfilled") resolve(result.value);
        else reject(result?.reason ?? new Error("a round left a member out"));
      }
    } catch (error) {
      for (const { reject } of group) reject(error);
    }
  }
}
