import { expect, test } from "vitest";
import { Turnstile } from "./turnstile.ts";

test("only so many are in; the next comes when one leaves, first come first served", async () => {
  const turnstile = new Turnstile(2);
  const came: number[] = [];
  await turnstile.enter();
  await turnstile.enter();
  const waiting = [1, 2, 3].map((number) => turnstile.enter().then(() => came.push(number)));
  await Promise.resolve();
  expect(came).toEqual([]);
  turnstile.leave();
  await waiting[0];
  expect(came).toEqual([1]);
  turnstile.leave();
  turnstile.leave();
  await Promise.all(waiting);
  expect(came).toEqual([1, 2, 3]);
});

test("who gives up waiting takes no place from those behind", async () => {
  const turnstile = new Turnstile(1);
  await turnstile.enter();
  const end = new AbortController();
  const impatient = turnstile.enter(end.signal);
  const patient = turnstile.enter();
  end.abort(new Error("enough"));
  await expect(impatient).rejects.toThrow("enough");
  turnstile.leave();
  await patient;
});
