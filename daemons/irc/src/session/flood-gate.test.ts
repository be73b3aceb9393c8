import fc from "fast-check";
import { expect, test } from "vitest";
import { FloodGate } from "./flood-gate.ts";

test("whatever is asked when, no stretch of time sees more lines than burst and pace allow", () => {
  const steps = fc.array(fc.record({ afterMs: fc.nat(3_000), lines: fc.integer({ min: 1, max: 4 }) }), {
    maxLength: 100,
  });
  fc.assert(
    fc.property(
      steps,
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 4, max: 10 }),
      (asked, perSecond, burst) => {
        let nowMs = 0;
        const gate = new FloodGate({ perSecond, burst }, { monotonicMs: () => nowMs });
        const passed: { readonly atMs: number; readonly lines: number }[] = [];
        for (const { afterMs, lines } of asked) {
          nowMs += afterMs;
          for (let waitMs = gate.pass(lines); waitMs > 0; waitMs = gate.pass(lines)) nowMs += waitMs;
          passed.push({ atMs: nowMs, lines });
        }
        for (const [from, { atMs }] of passed.entries()) {
          let lines = 0;
          for (const later of passed.slice(from)) {
            lines += later.lines;
            expect(lines).toBeLessThanOrEqual(burst + ((later.atMs - atMs) / 1_000) * perSecond + 1e-6);
          }
        }
      },
    ),
  );
});

test("after a flood it keeps half the pace, and never less than a line in five seconds", () => {
  let nowMs = 0;
  const gate = new FloodGate({ perSecond: 2, burst: 8 }, { monotonicMs: () => nowMs });
  gate.slowDown();
  expect(gate.perSecond).toBe(1);
  gate.restart();
  expect(gate.pass(4)).toBe(0);
  expect(gate.pass(1)).toBe(1_000);
  nowMs += 1_000;
  expect(gate.pass(1)).toBe(0);
  for (let times = 0; times < 20; times += 1) gate.slowDown();
  expect(gate.perSecond).toBe(0.2);
  expect(gate.pass(1)).toBeLessThanOrEqual(5_000);
});
