import { expect, test } from "vitest";
import { systemClock } from "../shared/clock.ts";
import { Together } from "./together.ts";

/** Rounds that end when told to, and the members each of them had. */
function rounds(most = 100, mostBytes = 1_000) {
  const groups: string[][] = [];
  const ends: (() => void)[] = [];
  const stopping = new AbortController();
  const together = new Together<string, string>(
    async (members) => {
      groups.push([...members]);
      const { promise, resolve } = Promise.withResolvers<void>();
      ends.push(resolve);
      await promise;
      return members.map((one) =>
        one === "bad"
          ? { status: "rejected" as const, reason: new Error(one) }
          : { status: "fulfilled" as const, value: one },
      );
    },
    { most, mostBytes, bytesOf: (one) => one.length, clock: systemClock, signal: stopping.signal },
  );
  return { together, groups, ends, stopping };
}

test("the first starts at once; what comes meanwhile shares the next round", async () => {
  const { together, groups, ends } = rounds();
  const first = together.do("a");
  expect(groups).toEqual([["a"]]);
  const others = [together.do("b"), together.do("bad"), together.do("c")];
  ends[0]?.();
  await first;
  await expect.poll(() => groups.length).toBe(2);
  expect(groups[1]).toEqual(["b", "bad", "c"]);
  ends[1]?.();
  const results = await Promise.allSettled(others);
  expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
});

test("a round is bounded in members and in bytes; a single member always finds room", async () => {
  const { together, groups, ends } = rounds(2, 10);
  const all = ["a", "b", "c", "d", "x".repeat(20), "e"].map((one) => together.do(one));
  for (let at = 0; at < 5; at++) {
    await expect.poll(() => groups.length).toBe(at + 1);
    ends[at]?.();
  }
  await Promise.all(all);
  expect(groups.map((group) => group.length)).toEqual([1, 2, 1, 1, 1]);
});

test("a round that takes long holds nobody up", async () => {
  const { together, groups, ends } = rounds();
  const slow = together.do("slow");
  const quick = together.do("quick");
  await expect.poll(() => groups.length, { timeout: 5_000 }).toBe(2);
  ends[1]?.();
  expect(await quick).toBe("quick");
  ends[0]?.();
  expect(await slow).toBe("slow");
});

test("nothing is begun for who is told to stop", () => {
  const { together, groups, stopping } = rounds();
  stopping.abort(new Error("over"));
  expect(() => together.do("a")).toThrow("over");
  expect(groups).toEqual([]);
});
