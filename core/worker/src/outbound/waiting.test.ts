/** Counting what waits costs as much as waits: it must not be done for every intent. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Waiting, WaitingRoom } from "./waiting.ts";

const OWNER = { workspaceId: "acme", identityId: "a" };
const BOUNDS = { perIdentity: 5_000, perWorkspace: 20_000 };

function world(start: Waiting) {
  let nowMs = 0;
  const waiting = { ...start };
  const seen = { counts: 0 };
  const room = new WaitingRoom(() => nowMs);
  return {
    seen,
    waiting,
    pass: (ms: number) => (nowMs += ms),
    record: async (in_ = room) => {
      const full = await in_.take(OWNER, BOUNDS, () => {
        seen.counts += 1;
        return Promise.resolve({ ...waiting });
      });
      if (full !== undefined) return full;
      waiting.identity += 1;
      waiting.workspace += 1;
      return undefined;
    },
    another: () => new WaitingRoom(() => nowMs),
  };
}

test("a long queue is not counted for every intent that is recorded", async () => {
  const { record, seen } = world({ identity: 0, workspace: 10_000 });
  for (let i = 0; i < 1_000; i++) expect(await record()).toBeUndefined();
  expect(seen.counts).toBeLessThan(20);
});

test("a full queue is not counted for every intent that is refused, and has room again within a second", async () => {
  const { record, seen, waiting, pass } = world({ identity: 0, workspace: 20_000 });
  for (let i = 0; i < 1_000; i++) expect(await record()).toBe("workspace");
  expect(seen.counts).toBe(1);
  waiting.workspace -= 1;
  pass(1_000);
  expect(await record()).toBeUndefined();
  expect(await record()).toBe("workspace");
});

test("one process stays within the bounds; of several, each exceeds one by a 32nd part at most", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 8 }),
      fc.array(fc.nat(7), { minLength: 200, maxLength: 2_000 }),
      fc.integer({ min: 4_000, max: 4_990 }),
      async (processes, order, identity) => {
        const { record, waiting, another } = world({ identity, workspace: identity });
        const rooms = Array.from({ length: processes }, another);
        for (const place of order) await record(rooms[place % processes]);
        const over = waiting.identity - BOUNDS.perIdentity;
        expect(over).toBeLessThanOrEqual(((processes - 1) * BOUNDS.perIdentity) / 32);
      },
    ),
    { numRuns: 50 },
  );
});

test("what is remembered is bounded", async () => {
  const room = new WaitingRoom(() => 0, 10);
  for (let i = 0; i < 100; i++) {
    const owner = { workspaceId: `w${i}`, identityId: "a" };
    await room.take(owner, BOUNDS, () => Promise.resolve({ identity: 0, workspace: 0 }));
  }
  expect(room.size).toBe(10);
});
