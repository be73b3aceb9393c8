import { expect, test } from "vitest";
import { GroupCommit } from "./group-commit.ts";

/** Commits on demand, and records the items that it was given. */
function recorder(fails: (items: readonly string[]) => boolean = () => false) {
  const groups: string[][] = [];
  const gate = { open: Promise.resolve() };
  const commit = new GroupCommit<string, number>(async (items) => {
    groups.push([...items]);
    await gate.open;
    if (fails(items)) throw new Error(`refused ${items.join(",")}`);
    return groups.length;
  }, 4);
  return { commit, groups, gate };
}

test("what is handed in while a transaction runs shares the next one", async () => {
  const { commit, groups, gate } = recorder();
  const { promise, resolve } = Promise.withResolvers<void>();
  gate.open = promise;
  const first = commit.commit(["a"]);
  await expect.poll(() => groups.length).toBe(1);
  const others = [commit.commit(["b"]), commit.commit(["c", "d"])];
  resolve();
  await Promise.all([first, ...others]);
  expect(groups).toEqual([["a"], ["b", "c", "d"]]);
});

test("a group is bounded, but a batch is never cut", async () => {
  const { commit, groups } = recorder();
  await Promise.all([
    commit.commit(["a", "b", "c"]),
    commit.commit(["d", "e"]),
    commit.commit(["f", "g", "h", "i", "j"]),
  ]);
  expect(groups).toEqual([
    ["a", "b", "c"],
    ["d", "e"],
    ["f", "g", "h", "i", "j"],
  ]);
});

test("one batch that cannot be stored fails alone", async () => {
  const { commit, groups } = recorder((items) => items.includes("bad"));
  const results = await Promise.allSettled([
    commit.commit(["a"]),
    commit.commit(["bad"]),
    commit.commit(["b"]),
  ]);
  expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(groups).toEqual([["a", "bad", "b"], ["a"], ["bad"], ["b"]]);
});

test("a group that failed for a reason that its members share fails as a whole, and once", async () => {
  const groups: string[][] = [];
  const commit = new GroupCommit<string, void>(
    (items) => {
      groups.push([...items]);
      return Promise.reject(new Error("away"));
    },
    4,
    { mayPart: (error) => (error as Error).message !== "away" },
  );
  const results = await Promise.allSettled(["a", "b"].map((one) => commit.commit([one])));
  expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(groups).toEqual([["a", "b"]]);
});

test("a batch whose partition moved while it waited is not committed, whatever company it has", async () => {
  const first = Promise.withResolvers<void>();
  const committed: string[] = [];
  const group = new GroupCommit(async (items: readonly string[]) => {
    if (items.includes("first")) await first.promise;
    committed.push(...items);
  });
  let isCurrent = true;
  const running = group.commit(["first"]);
  await Promise.resolve();
  await Promise.resolve();
  const moved = group.commit(["moved"], () => isCurrent);
  const stays = group.commit(["stays"], () => true);
  isCurrent = false;
  first.resolve();
  await expect(moved).rejects.toMatchObject({ code: "lease.lost" });
  await Promise.all([running, stays]);
  expect(committed).toEqual(["first", "stays"]);
});

test("a batch whose partition moves while its group is taken apart is not committed", async () => {
  let isCurrent = true;
  const committed: string[] = [];
  const group = new GroupCommit((items: readonly string[]) => {
    if (items.length > 1) {
      isCurrent = false;
      return Promise.reject(new Error("together"));
    }
    committed.push(...items);
    return Promise.resolve();
  });
  const [moved, stays] = [group.commit(["moved"], () => isCurrent), group.commit(["stays"])];
  await expect(moved).rejects.toMatchObject({ code: "lease.lost" });
  await stays;
  expect(committed).toEqual(["stays"]);
});
