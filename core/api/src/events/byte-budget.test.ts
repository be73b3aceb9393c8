import { expect, test } from "vitest";
import { ByteBudget } from "./byte-budget.ts";

const forever = new AbortController().signal;
/** Whether a promise is still open once all runnable tasks have run. */
async function isOpen(promise: Promise<unknown>): Promise<boolean> {
  const open = Symbol("open");
  const next = new Promise((resolve) => setImmediate(() => resolve(open)));
  return (await Promise.race([promise, next])) === open;
}

test("one workspace holds a quarter, and keeps waiting only its own", async () => {
  const budget = new ByteBudget(400);
  const mine = await budget.take("a", 100, forever);
  const more = budget.take("a", 10, forever);
  expect(await isOpen(more)).toBe(true);
  await budget.take("b", 100, forever);
  mine.resize(90);
  (await more).release();
  expect(budget.held).toBe(190);
});

test("all together hold no more than the whole, and who waits is served in order", async () => {
  const budget = new ByteBudget(400);
  const held = await Promise.all(["a", "b", "c", "d"].map((key) => budget.take(key, 100, forever)));
  const order: string[] = [];
  const waiting = ["e", "f"].map(async (key) => {
    const got = await budget.take(key, 100, forever);
    order.push(key);
    return got;
  });
  expect(await isOpen(Promise.all(waiting))).toBe(true);
  for (const one of held) one.release();
  await Promise.all(waiting);
  expect([order, budget.held]).toEqual([["e", "f"], 200]);
});

test("an event larger than a share is read all the same, alone", async () => {
  const budget = new ByteBudget(40);
  const large = await budget.take("a", 1_000, forever);
  expect(await isOpen(budget.take("b", 1, forever))).toBe(true);
  large.release();
});

test("who leaves while it waits holds nothing and is forgotten", async () => {
  const budget = new ByteBudget(4);
  const held = await budget.take("a", 4, forever);
  const leaving = new AbortController();
  const waiting = budget.take("a", 4, leaving.signal);
  leaving.abort();
  await expect(waiting).rejects.toThrow();
  held.release();
  expect(budget.held).toBe(0);
});
