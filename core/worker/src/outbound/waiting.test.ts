/** Counting what waits costs as much as waits: it must not be done for every intent. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { WaitingRoom } from "./waiting.ts";

interface Waiting {
  readonly identity: number;
  readonly workspace: number;
}

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
    record: async (in_ = room, together = 1) => {
      const all = await in_.take(
        Array.from({ length: together }, () => OWNER),
        BOUNDS,
        () => {
          seen.counts += 1;
          return Promise.resolve({ identities: [waiting.identity], workspaces: [waiting.workspace] });
        },
      );
      const taken = all.filter((full) => full === undefined).length;
      waiting.identity += taken;
      waiting.workspace += taken;
      return all.at(-1);
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

test("many at once stay within the bounds, too, and are counted once", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 100 }),
      fc.integer({ min: 0, max: 4_990 }),
      async (groups, identity) => {
        const { record, waiting, seen } = world({ identity, workspace: identity });
        for (const together of groups) {
          const before = seen.counts;
          const wanted = waiting.identity + together;
          await record(undefined, together);
          expect(waiting.identity).toBe(Math.min(wanted, BOUNDS.perIdentity));
          expect(seen.counts - before).toBeLessThanOrEqual(1);
        }
      },
    ),
    { numRuns: 100 },
  );
});

test("of many at once, only those of the full queue are refused", async () => {
  const room = new WaitingRoom(() => 0);
  const of = (workspaceId: string, identityId: string) => ({ workspaceId, identityId });
  const asked = [of("acme", "a"), of("acme", "b"), of("acme", "a"), of("rival", "c"), of("acme", "a")];
  const answers = await room.take(
    asked,
    { perIdentity: 2, perWorkspace: 3 },
    ({ identities, workspaces }) => {
      expect(identities.map(({ identityId }) => identityId)).toEqual(["a", "b", "c"]);
      expect(workspaces).toEqual(["acme", "rival"]);
      return Promise.resolve({ identities: [0, 0, 2], workspaces: [0, 2] });
    },
  );
  expect(answers).toEqual([undefined, undefined, undefined, "identity", "identity"]);
});

test("what is remembered is bounded", async () => {
  const room = new WaitingRoom(() => 0, 10);
  for (let i = 0; i < 100; i++) {
    const owner = { workspaceId: `w${i}`, identityId: "a" };
    await room.take([owner], BOUNDS, () => Promise.resolve({ identities: [0], workspaces: [0] }));
  }
  expect(room.size).toBe(10);
});
