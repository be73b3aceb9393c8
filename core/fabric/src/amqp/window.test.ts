import { expect, test } from "vitest";
import { Window } from "./window.ts";

const MIB = 1_048_576;

test("large messages shrink the window to what the bound on bytes holds", () => {
  const window = new Window({ maxInFlight: 1_000, maxBytes: 16 * MIB });
  expect([window.size, window.isFull]).toEqual([1_000, true]);
  window.shrink(19, 19 * 900_000);
  expect([window.size, window.isFull]).toEqual([18, false]);
});

test("it grows back to all of it when small messages follow one burst of large ones", () => {
  const window = new Window({ maxInFlight: 1_000, maxBytes: 16 * MIB });
  window.shrink(19, 19 * 900_000);
  let arrived = 0;
  const sizes: number[] = [];
  while (!window.isFull && arrived < 5_000) {
    window.arrived(600);
    arrived++;
    if (window.canGrow) {
      window.grow();
      sizes.push(window.size);
    }
  }
  expect(sizes.at(-1)).toBe(1_000);
  expect(sizes.length).toBeLessThanOrEqual(5);
  expect(arrived).toBeLessThan(2_000);
});

test("it stays small while large messages come, and never grows past what they allow", () => {
  const window = new Window({ maxInFlight: 1_000, maxBytes: 16 * MIB });
  window.shrink(19, 19 * 900_000);
  for (let at = 0; at < 1_000; at++) {
    window.arrived(900_000);
    expect(window.canGrow).toBe(false);
  }
  for (let at = 0; at < 10_000; at++) {
    window.arrived(100_000);
    if (window.canGrow) window.grow();
    expect(window.size * 100_000).toBeLessThanOrEqual(16 * MIB);
  }
  expect(window.size).toBeGreaterThan(80);
});

test("a quiet time makes it full again", () => {
  const window = new Window({ maxInFlight: 70_000, maxBytes: MIB });
  window.shrink(2, 2 * MIB);
  expect(window.size).toBe(1);
  window.reset();
  expect(window.size).toBe(65_535);
});
