/**
 * A clock whose time passes only in `run`: it lets every promise settle, then jumps to the next thing
 * that is due. Things due at the same instant run in an order that the seed decides, so that a seed
 * always gives the same run. It cannot wait for real input and output.
 */
import type { Clock, Random } from "./clock.ts";
import { Heap } from "./heap.ts";

interface Due {
  readonly at: number;
  readonly lot: number;
  readonly order: number;
  run: (() => void) | undefined;
}

export interface RunOptions {
  /** Stops as soon as it holds. */
  readonly until?: () => boolean;
  /** Stops when so much virtual time has passed; default one hour. */
  readonly maxMs?: number;
}

export class VirtualClock implements Clock {
  readonly #random: Random;
  readonly #due = new Heap<Due>((a, b) => a.at - b.at || a.lot - b.lot || a.order - b.order);
  #now = 0;
  #order = 0;
  #pending = 0;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  now(): number {
    return this.#now;
  }

  /** Timers that are set and were not called off. */
  get pending(): number {
    return this.#pending;
  }

  after(afterMs: number, run: () => void): () => void {
    const due: Due = { at: this.#now + Math.max(0, afterMs), lot: this.#random(), order: this.#order++, run };
    this.#due.push(due);
    this.#pending++;
    return () => {
      if (due.run !== undefined) this.#pending--;
      due.run = undefined;
    };
  }

  /** @returns whether `until` held; without it, whether nothing was left to do */
  async run({ until, maxMs = 3_600_000 }: RunOptions = {}): Promise<boolean> {
    const end = this.#now + maxMs;
    for (;;) {
      await new Promise((settled) => setImmediate(settled));
      if (until?.()) return true;
      const next = this.#due.peek();
      if (next === undefined) return until === undefined;
      if (next.at > end) {
        this.#now = end;
        return false;
      }
      this.#due.pop();
      this.#now = Math.max(this.#now, next.at);
      const { run } = next;
      if (run === undefined) continue;
      next.run = undefined;
      this.#pending--;
      run();
    }
  }
}

/** A small generator of good quality (SplitMix32); not for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return ((z ^ (z >>> 16)) >>> 0) / 2 ** 32;
  };
}
