import { expect, test } from "vitest";
import { Semaphore } from "./semaphore.ts";

test("only so many are in; the next comes when one leaves, first come first served", async () => {
  const semaphore = new Semaphore(2);
  const came: number[] = [];
  await semaphore.enter();
  await semaphore.enter();
  const waiting = [1, 2, 3].map((number) => semaphore.enter().then(() => came.push(number)));
  await Promise.resolve();
  expect(came).toEqual([]);
  semaphore.leave();
  await waiting[0];
  expect(came).toEqual([1]);
  semaphore.leave();
  semaphore.leave();
  await Promise.all(waiting);
  expect(came).toEqual([1, 2, 3]);
});

test("who gives up waiting takes no place from those behind", async () => {
  const semaphore = new Semaphore(1);
  await semaphore.enter();
  const end = new AbortController();
  const impatient = semaphore.enter(end.signal);
  const patient = semaphore.enter();
  end.abort(new Error("enough"));
  await expect(impatient).rejects.toThrow("enough");
  semaphore.leave();
  await patient;
});
