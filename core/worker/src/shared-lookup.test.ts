import { expect, test } from "vitest";
import { SharedLookup } from "./shared-lookup.ts";

test("questions of one moment share a statement, equal ones an answer; the unknown is not found", async () => {
  const asked: string[][] = [];
  const lookup = new SharedLookup<string>(async (ids) => {
    asked.push([...ids]);
    return new Map(ids.filter((id) => id !== "nobody").map((id) => [id, `${id} ${asked.length}`]));
  });
  expect(await Promise.all(["a", "b", "a", "nobody"].map((id) => lookup.find(id)))).toEqual([
    "a 1",
    "b 1",
    "a 1",
    undefined,
  ]);
  expect(asked).toEqual([["a", "b", "nobody"]]);
  expect(await lookup.find("a")).toBe("a 2");
});

test("who asks while a statement runs is told what is true later", async () => {
  let value = "old";
  const first = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  const lookup = new SharedLookup<string>(async (ids) => {
    const read = value;
    started.resolve();
    await first.promise;
    return new Map(ids.map((id) => [id, read]));
  });
  const before = lookup.find("a");
  await started.promise;
  value = "new";
  const after = lookup.find("a");
  first.resolve();
  expect(await Promise.all([before, after])).toEqual(["old", "new"]);
});

test("a failure is of those who shared the statement, and of nobody later", async () => {
  let away = true;
  const lookup = new SharedLookup<string>(async (ids) => {
    if (away) throw new Error("away");
    return new Map(ids.map((id) => [id, id]));
  });
  const outcomes = await Promise.allSettled([lookup.find("a"), lookup.find("b")]);
  expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  away = false;
  expect(await lookup.find("a")).toBe("a");
});
