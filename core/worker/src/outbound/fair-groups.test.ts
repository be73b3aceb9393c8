import { FabricError } from "@linkspan/envelopes";
import type { LockMode } from "@linkspan/store";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Answer, FairGroups, type Grouped } from "./fair-groups.ts";
import type { GroupLimits } from "./group-limits.ts";

const member = (id: string, over: Partial<Grouped> = {}): Grouped => ({
  id,
  workspaceId: "acme",
  lane: `lane of ${id}`,
  bytes: 1,
  ...over,
});

type Commit = (ids: readonly string[], mode: LockMode) => Promise<Answer<string>[]> | Answer<string>[];
const done = (ids: readonly string[]): Answer<string>[] => ids.map((id) => ({ done: `${id} is stored` }));

/** Commits when the gate is open, and remembers the groups. */
function recorder(commit: Commit = done, limits: Partial<GroupLimits> = {}) {
  const groups: string[] = [];
  const gate: { open: Promise<unknown> } = { open: Promise.resolve() };
  const clock = { nowMs: 0 };
  const all = new FairGroups<Grouped, string>(
    async (members, mode) => {
      groups.push(`${mode} ${members.map(({ id }) => id).join(" ")}`);
      await gate.open;
      return commit(
        members.map(({ id }) => id),
        mode,
      );
    },
    limits,
    {
      now: () => clock.nowMs,
      after: (ms, run) => {
        clock.nowMs += ms;
        const next = setImmediate(run);
        return () => clearImmediate(next);
      },
    },
  );
  const close = () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    gate.open = promise;
    return resolve;
  };
  return { all, groups, close, clock };
}

test("the first one starts at once; who comes meanwhile shares the next group", async () => {
  const { all, groups, close } = recorder();
  const open = close();
  const first = all.add(member("a"));
  await Promise.resolve();
  expect(groups).toEqual(["skip a"]);
  const others = [all.add(member("b")), all.add(member("c"))];
  open();
  expect(await Promise.all([first, ...others])).toEqual(["a is stored", "b is stored", "c is stored"]);
  expect(groups).toEqual(["skip a", "skip b c"]);
});

test("each has its own answer: what one is refused for is not the others' error", async () => {
  const { all } = recorder((ids) =>
    ids.map((id) => (id === "bad" ? { error: new FabricError("intent.conflict", "used") } : { done: id })),
  );
  const outcomes = await Promise.allSettled(["a", "bad", "b"].map((id) => all.add(member(id))));
  expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(outcomes[1]).toMatchObject({ reason: { code: "intent.conflict" } });
});

test("a group that fails is halved until what cannot be stored is alone, in order", async () => {
  const stored: string[] = [];
  const { all } = recorder((ids) => {
    if (ids.includes("5")) throw new FabricError("store.rejected", "cannot be held");
    stored.push(...ids);
    return done(ids);
  });
  const ids = Array.from({ length: 9 }, (_, i) => `${i}`);
  const outcomes = await Promise.allSettled(ids.map((id) => all.add(member(id))));
  expect(outcomes.flatMap(({ status }, at) => (status === "rejected" ? [ids[at]] : []))).toEqual(["5"]);
  expect(stored).toEqual(ids.filter((id) => id !== "5"));
});

test("what fails while the database is away takes along what waits behind it in its lane, and nothing else", async () => {
  const stored: string[] = [];
  let failures = 0;
  const { all, close } = recorder((ids) => {
    // It is back when the first one of the lane has been refused.
    if (ids[0] === "a1" && ++failures <= 3) throw new FabricError("store.unavailable", "away");
    stored.push(...ids);
    return done(ids);
  });
  const inLane = (id: string) => all.add(member(id, { lane: id.slice(0, 1) }));
  const open = close();
  const asked = ["a1", "a2", "b1", "b2"].map(inLane);
  await Promise.resolve();
  await Promise.resolve();
  asked.push(...["a3", "b3"].map(inLane));
  open();
  const outcomes = await Promise.allSettled(asked);
  const refused = outcomes.flatMap((one) => (one.status === "rejected" ? [one.reason as unknown] : []));
  expect(refused).toEqual(Array(3).fill(expect.objectContaining({ code: "store.unavailable" })));
  expect(stored).toEqual(["b1", "b2", "b3"]);
  expect(await Promise.all(["a1", "a2", "a3"].map(inLane))).toHaveLength(3);
  expect(stored.slice(3)).toEqual(["a1", "a2", "a3"]);
});

test("while the database is away a group is not tried for long, however many are in it", async () => {
  const { all, groups, clock } = recorder(() => {
    clock.nowMs += 5_000;
    throw new FabricError("store.unavailable", "away");
  });
  const outcomes = await Promise.allSettled(Array.from({ length: 100 }, (_, i) => all.add(member(`${i}`))));
  expect(new Set(outcomes.map(({ status }) => status))).toEqual(new Set(["rejected"]));
  expect(groups).toHaveLength(1);
});

test("workspaces take turns in a group, and who was not served comes first in the next", async () => {
  const { all, groups, close } = recorder(done, { members: 3 });
  const open = close();
  const asked = [all.add(member("first"))];
  await Promise.resolve();
  for (let i = 0; i < 6; i++) asked.push(all.add(member(`flood${i}`, { workspaceId: "flood" })));
  asked.push(all.add(member("b", { workspaceId: "b" })), all.add(member("c", { workspaceId: "c" })));
  asked.push(all.add(member("d", { workspaceId: "d" })));
  open();
  await Promise.all(asked);
  expect(groups.slice(1)).toEqual(["skip flood0 b c", "skip d flood1 flood2", "skip flood3 flood4 flood5"]);
});

test("a group is bounded in bytes, and one that is larger than a group goes alone", async () => {
  const { all, groups } = recorder(done, { bytes: 10 });
  await Promise.all([6, 4, 1, 50, 2].map((bytes, i) => all.add(member(`${i}`, { bytes }))));
  expect(groups).toEqual(["skip 0 1", "skip 2", "skip 3", "skip 4"]);
});

test("the same id is never twice in a group: the second one finds the first one's row", async () => {
  const { all, groups } = recorder();
  await Promise.all(["a", "b", "a", "c"].map((id) => all.add(member(id))));
  expect(groups).toEqual(["skip a b", "skip a c"]);
});

/** Lanes of members whose id begins with `held` are held until told otherwise. */
function heldLane(limits: Partial<GroupLimits>) {
  const lane = "held lane";
  const state = { held: true };
  const freed = Promise.withResolvers<void>();
  const stored: string[] = [];
  const made = recorder(async (ids, mode) => {
    if (mode === "wait") await freed.promise;
    const busy = (id: string) => mode === "skip" && state.held && id.startsWith("held");
    stored.push(...ids.filter((id) => !busy(id)));
    return ids.map((id) => (busy(id) ? { busy: true } : { done: id }));
  }, limits);
  const free = () => {
    state.held = false;
    freed.resolve();
  };
  const add = (id: string) => made.all.add(member(id, id.startsWith("held") ? { lane } : {}));
  return { ...made, add, free, stored };
}

const HELD = ["held0", "held1", "held2", "held3", "held4"];

test("a lane that is held is tried again, in order, and holds up no other", async () => {
  const { add, free, stored, groups } = heldLane({ members: 3, patienceMs: Number.POSITIVE_INFINITY });
  const waiting = ["held0", "x", "held1", "held2", "held3"].map(add);
  await waiting[1];
  const late = add("held4");
  expect(await add("y")).toBe("y");
  expect(stored).toEqual(["x", "y"]);
  free();
  await Promise.all([...waiting, late]);
  expect(stored.slice(2)).toEqual(HELD);
  expect(groups.join()).not.toContain("wait");
});

test("a lane that is held for long is waited for, alone", async () => {
  const { add, free, stored, groups } = heldLane({ patienceMs: 300 });
  const waiting = HELD.slice(0, 4).map(add);
  await expect.poll(() => groups.join()).toContain("wait held0 held1 held2 held3");
  const late = add("held4");
  expect(await add("y")).toBe("y");
  free();
  await Promise.all([...waiting, late]);
  expect(stored).toEqual(["y", ...HELD]);
  expect(groups.at(-1)).toBe("wait held4");
});

test.each([
  ["the same id in two lanes", {}, ["held one", "held one"]],
  ["more bytes than a group holds", { bytes: 10 }, ["held a", "held b"]],
])(
  "lanes that are held keep the bounds of a group when they are tried again: %s",
  async (_what, limits, ids) => {
    const state = { held: true };
    const { all, groups } = recorder(
      (members, mode) => members.map((id) => (mode === "skip" && state.held ? { busy: true } : { done: id })),
      { ...limits, patienceMs: Number.POSITIVE_INFINITY },
    );
    const asked = ids.map((id, i) => all.add(member(id, { lane: `lane ${i}`, bytes: 6 })));
    await expect.poll(() => groups.length).toBeGreaterThan(6);
    state.held = false;
    await Promise.all(asked);
    expect(groups.filter((group) => group.split("held").length > 2)).toEqual([]);
  },
);

test("many lanes that are held cost a look at those that fit a group, not at all of them", async () => {
  const state = { held: true };
  const { all, groups } = recorder(
    (members, mode) => members.map((id) => (mode === "skip" && state.held ? { busy: true } : { done: id })),
    { members: 10, patienceMs: Number.POSITIVE_INFINITY },
  );
  let looks = 0;
  const asked = Array.from({ length: 500 }, (_, i) =>
    all.add({
      ...member(`${i}`),
      get id() {
        looks++;
        return `${i}`;
      },
    }),
  );
  await expect.poll(() => groups.length).toBeGreaterThan(60);
  [looks, groups.length] = [0, 0];
  await expect.poll(() => groups.length).toBeGreaterThan(20);
  expect(looks / groups.length).toBeLessThan(100);
  state.held = false;
  await Promise.all(asked);
});

test("more than the bound wait for nothing: they are told to come back", async () => {
  const { all, close } = recorder(done, { waiting: 2 });
  const open = close();
  const asked = [all.add(member("a")), all.add(member("b"))];
  expect(() => all.add(member("c"))).toThrow(expect.objectContaining({ code: "request.rate_limited" }));
  open();
  await Promise.all(asked);
  expect(await all.add(member("c"))).toBe("c is stored");
});

const asked = fc.record({
  workspace: fc.constantFrom("a", "b", "c"),
  lane: fc.constantFrom("x", "y", "z"),
  busy: fc.boolean(),
  failing: fc.integer({ min: 0, max: 9 }),
  pause: fc.nat(3),
});

test("whatever is held or fails, everyone is answered once and each lane keeps its order", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(asked, { maxLength: 60 }),
      fc.integer({ min: 1, max: 8 }),
      async (all, members) => {
        const stored: number[] = [];
        const added: number[] = [];
        const { all: groups } = recorder(
          async (ids, mode) => {
            await Promise.resolve();
            if (ids.some((id) => all[Number(id)]?.failing === 0))
              throw new FabricError(ids.length > 1 ? "store.unavailable" : "store.rejected", "bad");
            // All of a lane in a group are held, or none.
            const heldLanes = new Set(
              ids.filter((id) => mode === "skip" && all[Number(id)]?.busy).map((id) => laneOf(all, id)),
            );
            return ids.map((id) => {
              if (heldLanes.has(laneOf(all, id))) return { busy: true as const };
              stored.push(Number(id));
              return { done: id };
            });
          },
          { members },
        );
        const outcomes = await Promise.allSettled(
          all.map(async (one, i) => {
            for (let n = 0; n < i + one.pause; n++) await Promise.resolve();
            added.push(i);
            return groups.add(member(`${i}`, { workspaceId: one.workspace, lane: laneOf(all, `${i}`) }));
          }),
        );
        expect(outcomes.map(({ status }) => status)).toEqual(
          all.map(({ failing }) => (failing === 0 ? "rejected" : "fulfilled")),
        );
        const byLane = (ids: readonly number[]) => Map.groupBy(ids, (i) => laneOf(all, `${i}`));
        const wanted = byLane(added.filter((i) => all[i]?.failing !== 0));
        expect(byLane(stored)).toEqual(wanted);
      },
    ),
    { numRuns: 300 },
  );
});

function laneOf(all: readonly { readonly workspace: string; readonly lane: string }[], id: string): string {
  const one = all[Number(id)];
  return `${one?.workspace} ${one?.lane}`;
}
