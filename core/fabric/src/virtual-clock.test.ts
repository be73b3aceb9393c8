import { expect, test } from "vitest";
import { sleep, systemClock, within } from "./clock.ts";
import { seededRandom, VirtualClock } from "./virtual-clock.ts";

test("jumps to what is due, after every promise has settled", async () => {
  const clock = new VirtualClock(1);
  const log: string[] = [];
  clock.after(1_000, () => {
    log.push(`late ${clock.now()}`);
  });
  clock.after(10, () => {
    void Promise.resolve()
      .then(() => undefined)
      .then(() => log.push(`early ${clock.now()}`));
  });
  clock.after(20, () => log.push("never"))();
  expect(await clock.run()).toBe(true);
  expect(log).toEqual(["early 10", "late 1000"]);
});

test("stops when told to, and says whether the condition held", async () => {
  const clock = new VirtualClock(1);
  expect(await clock.run({ until: () => clock.now() >= 5 })).toBe(false);
  clock.after(5, () => undefined);
  clock.after(5_000, () => undefined);
  expect(await clock.run({ until: () => clock.now() >= 5 })).toBe(true);
  expect(await clock.run({ maxMs: 100 })).toBe(false);
  expect(clock.now()).toBe(105);
});

test("one seed is one order of what is due together, another seed another", async () => {
  const orderOf = async (seed: number): Promise<string> => {
    const clock = new VirtualClock(seed);
    const order: number[] = [];
    for (let at = 0; at < 8; at++) clock.after(1, () => order.push(at));
    await clock.run();
    return order.join();
  };
  const orders = await Promise.all([1, 2, 3, 4, 5].map(orderOf));
  expect(new Set(orders).size).toBeGreaterThan(1);
  expect(await orderOf(3)).toBe(orders[2]);
});

test("draws evenly", () => {
  const random = seededRandom(5);
  const counts = Array<number>(10).fill(0);
  for (let at = 0; at < 10_000; at++) {
    const bin = Math.floor(random() * 10);
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
  for (const count of counts) expect(Math.abs(count - 1_000)).toBeLessThan(150);
});

test("sleeps until a signal, and gives up what takes too long", async () => {
  const clock = new VirtualClock(1);
  const call = new AbortController();
  const slept = sleep(clock, 1_000, call.signal);
  call.abort();
  await slept;
  await sleep(clock, 1_000, call.signal);
  const slow = within(clock, 50, "it", new Promise(() => undefined));
  const [ended] = await Promise.allSettled([slow, clock.run()]);
  expect(ended).toMatchObject({ status: "rejected", reason: { code: "bus.timeout" } });
  expect(await within(clock, 50, "it", Promise.resolve(3))).toBe(3);
});

test("the system clock runs later, and can be called off", async () => {
  const log: string[] = [];
  systemClock.after(0, () => log.push("called off"))();
  await new Promise<void>((resolve) => {
    systemClock.after(0, resolve);
    log.push("first");
  });
  expect(log).toEqual(["first"]);
});
