/**
 * Collects calls that are made at the same moment. The first call starts a round at once; calls that are made during a
 * round share the next one. A round that takes long delays nobody: after a while the next one starts beside it.
 */
import { childOf, end } from "@linkspan/time";
import { type Clock, pause } from "../shared/clock.ts";

/** Time after which the next round may start beside this one, milliseconds. */
const ROUND_MS = 500;

export interface TogetherOptions<T> {
  /** Most members of one round. */
  readonly most: number;
  /** Most bytes of one round; a single member may have more. */
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
   * @param round handles all members and returns one result for each, in their order; it may call `underWay` as soon
   *   as the next round need not wait for it
   */
  constructor(
    round: (members: readonly T[], underWay: () => void) => Promise<readonly PromiseSettledResult<R>[]>,
    options: TogetherOptions<T>,
  ) {
    this.#round = round;
    this.#options = options;
  }

  /** @throws the error of its round, or of this member in it; the signal's reason */
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
      end(over);
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
