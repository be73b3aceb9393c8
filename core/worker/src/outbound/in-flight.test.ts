import { expect, test } from "vitest";
import { InFlight } from "./in-flight.ts";

const never = new AbortController().signal;

function started(inFlight: InFlight, bytes: number, owner = "irc primary"): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  inFlight.add(owner, bytes, promise);
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

test.each([
  ["number", 16, 1],
  ["bytes", 1_000, 64],
])(
  "owners whose work does not end leave room for one more, however many they are: by %s",
  (_what, count, bytes) => {
    const inFlight = new InFlight(count, 1_024);
    for (const owner of ["a", "b", "c"]) {
      expect(inFlight.hasRoomFor(owner)).toBe(true);
      while (inFlight.hasRoomFor(owner)) started(inFlight, bytes, owner);
      expect(inFlight.full).toContain(owner);
    }
    expect([inFlight.hasRoom, inFlight.hasRoomFor("d")]).toEqual([true, true]);
  },
);

test("what ends gives its owner room again", async () => {
  const inFlight = new InFlight(2, 1_000);
  const end = started(inFlight, 1, "a");
  expect([inFlight.full, inFlight.hasRoomFor("a"), inFlight.hasRoomFor("b")]).toEqual([["a"], false, true]);
  end();
  await inFlight.idle();
  expect([inFlight.full, inFlight.hasRoomFor("a")]).toEqual([[], true]);
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
