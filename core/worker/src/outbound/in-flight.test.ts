import { expect, test } from "vitest";
import { InFlight } from "./in-flight.ts";

const never = new AbortController().signal;

function started(inFlight: InFlight, bytes: number): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  inFlight.add(bytes, promise);
  return resolve;
}

async function isOpen(inFlight: InFlight): Promise<boolean> {
  let open = false;
  void inFlight.room(never).then(() => (open = true));
  for (let i = 0; i < 5; i++) await Promise.resolve();
  return open;
}

test("memory of what waits is bounded by bytes as well as by number", async () => {
  const byBytes = new InFlight(100, 1_000);
  const end = started(byBytes, 999);
  expect([await isOpen(byBytes), byBytes.freeBytes]).toEqual([true, 1]);
  const endLarge = started(byBytes, 500);
  expect([await isOpen(byBytes), byBytes.freeBytes]).toEqual([false, 1]);
  end();
  await byBytes.room(never);
  expect(byBytes.bytes).toBe(500);
  endLarge();

  const byCount = new InFlight(2, 1_000);
  const ends = [started(byCount, 1), started(byCount, 1)];
  expect(await isOpen(byCount)).toBe(false);
  ends[0]?.();
  await byCount.room(never);
  ends[1]?.();
  await byCount.idle();
  expect(byCount.bytes).toBe(0);
});

test("waiting for room ends when aborted, and leaves no listener", async () => {
  const inFlight = new InFlight(1, 1_000);
  const end = started(inFlight, 1);
  const stop = new AbortController();
  const waiting = inFlight.room(stop.signal);
  stop.abort();
  await waiting;
  end();
  await inFlight.idle();
});
