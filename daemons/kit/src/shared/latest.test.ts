import { expect, test, vi } from "vitest";
import { systemClock } from "./clock.ts";
import { Latest } from "./latest.ts";

function latestWith(send: (value: number) => Promise<void>, everyMs = 0) {
  const end = new AbortController();
  const errors: unknown[] = [];
  const onError = (error: unknown) => errors.push(error);
  return {
    latest: new Latest({ send, clock: systemClock, signal: end.signal, everyMs, onError }),
    end,
    errors,
  };
}

test("what is offered while one is being sent is replaced by what is newer", async () => {
  const sent: number[] = [];
  const first = Promise.withResolvers<void>();
  const { latest } = latestWith(async (value) => {
    sent.push(value);
    if (value === 1) await first.promise;
  });
  for (const value of [1, 2, 3, 4]) latest.offer(value);
  first.resolve();
  await latest.flush();
  expect(sent).toEqual([1, 4]);
});

test("a failed send is tried again with the newest value, never an older one", async () => {
  const sent: number[] = [];
  const { latest, errors } = latestWith(async (value) => {
    sent.push(value);
    if (sent.length < 3) throw new Error("the bus is away");
  });
  latest.offer(1);
  await expect.poll(() => sent).toEqual([1]);
  latest.offer(2);
  await latest.flush();
  expect(sent).toEqual([1, 2, 2]);
  expect(errors).toHaveLength(2);
});

test("sends keep their distance, but a flush does not wait for it", async () => {
  const sent: number[] = [];
  const { latest } = latestWith(async (value) => {
    sent.push(value);
  }, 3_600_000);
  latest.offer(1);
  await expect.poll(() => sent).toEqual([1]);
  latest.offer(2);
  await latest.flush();
  expect(sent).toEqual([1, 2]);
});

test("after the end nothing is sent", async () => {
  const send = vi.fn<(value: number) => Promise<void>>(async () => undefined);
  const { latest, end } = latestWith(send);
  end.abort();
  latest.offer(1);
  await latest.flush();
  expect(send).not.toHaveBeenCalled();
});
