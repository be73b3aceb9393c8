import fc from "fast-check";
import { expect, test } from "vitest";
import { MAX_BODY_BYTES } from "../headers.ts";
import { Window } from "./window.ts";

const MIB = 1_048_576;

/** A window after one burst of large messages, on the channel that replaced the first. */
function shrunk(): Window {
  const window = new Window({ maxInFlight: 1_000, maxBytes: 16 * MIB });
  window.channelLost();
  window.shrink(19, 19 * 900_000);
  return window;
}

/** Lets messages arrive until the window may grow, at most `limit`. @returns how many did */
function arrive(window: Window, bytes: number, limit: number): number {
  for (let arrived = 0; arrived < limit; arrived++) {
    if (window.canGrow) return arrived;
    window.arrived(bytes);
  }
  return limit;
}

test("large messages shrink the window to what holds the largest ones", () => {
  const window = new Window({ maxInFlight: 1_000, maxBytes: 16 * MIB });
  expect([window.size, window.isFull]).toEqual([1_000, true]);
  window.channelLost();
  window.shrink(19, 19 * 900_000);
  expect([window.size, window.isFull]).toEqual([8, false]);
  expect(window.size * MAX_BODY_BYTES).toBeLessThanOrEqual(16 * MIB);
});

test("it grows back to all of it when small messages follow one burst of large ones", () => {
  const window = shrunk();
  const sizes: number[] = [];
  let arrived = 0;
  while (!window.isFull && arrived < 5_000) {
    arrived += arrive(window, 600, 5_000);
    window.channelLost();
    window.grow();
    sizes.push(window.size);
  }
  expect(sizes).toEqual([64, 512, 1_000]);
  expect(arrived).toBeLessThan(2_500);
});

test("it does not change before all that was given back has come again", () => {
  const window = shrunk();
  expect(arrive(window, 600, 5_000)).toBe(1_000);
  window.channelLost();
  window.grow();
  expect(arrive(window, 600, 5_000)).toBe(128);
});

test("a channel that is lost in between gives back more", () => {
  const window = shrunk();
  expect(arrive(window, 600, 300)).toBe(300);
  window.channelLost();
  expect(arrive(window, 600, 5_000)).toBe(1_000 - 300 + 8);
});

test("it stays small while large messages come, and never grows past what they allow", () => {
  const window = shrunk();
  expect(arrive(window, 2_000_000, 5_000)).toBe(5_000);
  for (let at = 0; at < 10_000; at++) {
    window.arrived(100_000);
    if (!window.canGrow) continue;
    window.channelLost();
    window.grow();
    expect(window.size * 100_000).toBeLessThanOrEqual(16 * MIB);
  }
  expect(window.size).toBeGreaterThan(80);
});

test("a quiet time makes it full again", () => {
  const window = new Window({ maxInFlight: 70_000, maxBytes: MIB });
  window.channelLost();
  window.shrink(2, 2 * MIB);
  expect(window.size).toBe(1);
  window.reset();
  expect(window.size).toBe(65_535);
});

/** A queue as the broker keeps it: what a channel gives back comes first, behind what was given back before. */
class ModelQueue {
  #givenBack: number[] = [];
  #rest: number[];
  #unacknowledged: number[] = [];

  constructor(count: number) {
    this.#rest = Array.from({ length: count }, (_, at) => at);
  }

  /** Fills the channel's window and acknowledges `count` of it. @returns what was acknowledged */
  consume(window: number, count: number): number[] {
    while (this.#unacknowledged.length < window) {
      const next = this.#givenBack.shift() ?? this.#rest.shift();
      if (next === undefined) break;
      this.#unacknowledged.push(next);
    }
    return this.#unacknowledged.splice(0, count);
  }

  giveBack(): void {
    this.#givenBack.push(...this.#unacknowledged);
    this.#unacknowledged = [];
  }
}

test("no sequence of large and small messages changes the order", () => {
  const runs = fc.array(fc.record({ count: fc.integer({ min: 1, max: 200 }), large: fc.boolean() }), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(runs, fc.integer({ min: 2, max: 60 }), (lengths, full) => {
      const sizes = lengths.flatMap(({ count, large }) =>
        Array.from({ length: count }, () => (large ? MAX_BODY_BYTES : 100)),
      );
      const window = new Window({ maxInFlight: full, maxBytes: 2 * MAX_BODY_BYTES });
      const queue = new ModelQueue(sizes.length);
      const replace = (resize: () => void): void => {
        window.channelLost();
        queue.giveBack();
        resize();
      };
      const handled: number[] = [];
      while (handled.length < sizes.length) {
        const [next] = queue.consume(window.size, 1);
        if (next === undefined) throw new Error("the queue is empty");
        handled.push(next);
        window.arrived(sizes[next] ?? 0);
        if (window.size > window.smallest && sizes[next] === MAX_BODY_BYTES) {
          replace(() => window.shrink(1, MAX_BODY_BYTES));
        } else if (window.canGrow) replace(() => window.grow());
      }
      expect(handled).toEqual(handled.toSorted((left, right) => left - right));
    }),
  );
});
