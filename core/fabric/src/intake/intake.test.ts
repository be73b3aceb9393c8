import { FabricError } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { ACK, type Prepared, type Verdict } from "../bus.ts";
import { bench, delivery, idOf, ids, keyOf } from "./intake-bench.ts";
import { limitsOf } from "./options.ts";
import type { BusEvent } from "../events.ts";

test("drops a decision about deliveries of a lost connection", async () => {
  const opened = Promise.withResolvers<void>();
  const handle = async (batch: readonly Prepared<undefined>[]): Promise<Verdict[]> => {
    await opened.promise;
    return batch.map((item) => (idOf(item) === "b" ? { do: "dead", code: "envelope.schema" } : ACK));
  };
  const { clock, intake, settled, deadLettered, push } = bench({ handle });
  push("a", "b");
  await clock.run({ maxMs: 10 });
  intake.abandon();
  opened.resolve();
  await clock.run();
  expect([settled, deadLettered, intake.count, intake.bytes]).toEqual([[], [], 0, 0]);
  push("c");
  await clock.run();
  expect(settled).toEqual(["c"]);
});

test("hands over at once after a quiet time, and lets a stream gather", async () => {
  const at: [number, number][] = [];
  const { clock, push } = bench(
    {
      async handle(batch) {
        at.push([clock.now(), batch.length]);
        return batch.map(() => ACK);
      },
    },
    { limits: limitsOf({ lingerMs: 5, maxBatch: 3 }) },
  );
  push("quiet");
  await clock.run();
  push("one", "two");
  await clock.run();
  expect(at).toEqual([
    [0, 1],
    [5, 2],
  ]);
  push("1", "2", "3", "4");
  await clock.run();
  expect(at.slice(2)).toEqual([
    [5, 3],
    [10, 1],
  ]);
});

test("keeps a held key in order when it is larger than a batch", async () => {
  const done: string[] = [];
  let open = false;
  const { clock, push } = bench(
    {
      keyOf,
      async handle(batch) {
        return batch.map((item): Verdict => {
          if (!open && keyOf(item) === "a") return { do: "retry", afterMs: 10 };
          done.push(idOf(item));
          return ACK;
        });
      },
    },
    { limits: limitsOf({ maxBatch: 4 }) },
  );
  push(...ids(11, "a:"), "b:0");
  await clock.run({ maxMs: 200 });
  expect(done).toEqual(["b:0"]);
  open = true;
  await clock.run();
  expect(done).toEqual(["b:0", ...ids(11, "a:")]);
});

test("waits behind everything when the key of a held message is not known", async () => {
  const done: string[] = [];
  const faults: string[] = [];
  const { clock, push } = bench(
    {
      keyOf: () => {
        throw new Error("no key");
      },
      async handle(batch) {
        return batch.map((item): Verdict => {
          if (idOf(item) === "0" && item.delivery.attempt < 3) return { do: "retry", afterMs: 10 };
          done.push(idOf(item));
          return ACK;
        });
      },
    },
    { limits: limitsOf({ maxBatch: 1 }), listener: (event) => faults.push(event.event) },
  );
  push("0", "1", "2");
  await clock.run();
  expect(done).toEqual(["0", "1", "2"]);
  expect(faults).toContain("bus.fault");
});

test.each([
  "store.unavailable",
  "vault.sealed",
  "vault.conflict",
  "bus.unroutable",
  "flag.disabled",
  "internal",
  "lease.lost",
  "lease.held",
] as const)("never gives a message up for %s, and asks ever more slowly", async (code) => {
  const tries: number[] = [];
  const { clock, deadLettered, push } = bench({
    async handle() {
      tries.push(clock.now());
      throw new FabricError(code, "down");
    },
  });
  push("a");
  await clock.run({ maxMs: 3_600_000, until: () => clock.now() > 3_000_000 });
  expect(deadLettered).toEqual([]);
  const gaps = tries.slice(1).map((at, before) => at - (tries[before] ?? 0));
  expect(Math.max(...gaps)).toBeLessThanOrEqual(30_000);
  expect(Math.min(...gaps.slice(-10))).toBeGreaterThan(1_000);
});

test("waits as long as an error asks", async () => {
  const tries: number[] = [];
  const { clock, settled, push } = bench({
    async handle(batch) {
      tries.push(clock.now());
      if (tries.length === 1)
        throw new FabricError("platform.rate_limited", "slow", { retryAfterMs: 60_000 });
      return batch.map(() => ACK);
    },
  });
  push("a", "b");
  await clock.run();
  expect(settled).toEqual(["a", "b"]);
  expect((tries[1] ?? 0) - (tries[0] ?? 0)).toBeGreaterThanOrEqual(60_000);
});

/** One message that always fails with an unknown error, among others that come every so often. */
async function withOthers(
  everyMs: number,
  forMs: number,
  fault: (tries: number) => Error = () => new TypeError("a bug"),
) {
  let alone = 0;
  const events: BusEvent[] = [];
  const tested = bench(
    {
      keyOf: idOf,
      async handle(batch) {
        if (batch.some((item) => idOf(item) === "bad")) {
          if (batch.length === 1) alone++;
          throw fault(alone);
        }
        return batch.map(() => ACK);
      },
    },
    { listener: (event) => events.push(event) },
  );
  tested.push("bad");
  for (let at = everyMs; at <= forMs; at += everyMs) tested.clock.after(at, () => tested.push(`good${at}`));
  const diedAt: number[] = [];
  await tested.clock.run({
    until: () => {
      if (tested.deadLettered.length > 0 && diedAt.length === 0) diedAt.push(tested.clock.now());
      return tested.clock.now() >= forMs;
    },
    maxMs: forMs + 1,
  });
  return { ...tested, events, alone: () => alone, diedAt: diedAt[0] };
}

test("guilt is proven: an unknown error ends a message after 50 failures over ten minutes, others succeeding in between", async () => {
  const { alone, diedAt, deadLettered, settled } = await withOthers(5_000, 7_200_000);
  expect(deadLettered).toMatchObject([{ id: "bad", code: "internal", queue: "q" }]);
  expect(diedAt).toBeGreaterThanOrEqual(600_000);
  expect(alone()).toBeGreaterThanOrEqual(50);
  expect(settled).toContain("bad");
});

test("trouble is assumed: an unknown error ends nothing where nothing else succeeds, however long", async () => {
  const day = 86_400_000;
  const { alone, deadLettered, events } = await withOthers(day * 2, day);
  expect(deadLettered).toEqual([]);
  expect(alone()).toBeGreaterThan(2_000);
  const reports = events.filter(({ event }) => event === "bus.message_stuck");
  expect(reports.length).toBeGreaterThan(5);
  expect(reports.length).toBeLessThan(20);
});

test("what others proved before a failure of the surroundings counts no more", async () => {
  const faultOf = (tries: number): Error =>
    tries % 40 === 0 ? new FabricError("store.unavailable", "down") : new TypeError("a bug");
  const { alone, deadLettered } = await withOthers(5_000, 14_400_000, faultOf);
  expect(alone()).toBeGreaterThan(200);
  expect(deadLettered).toEqual([]);
});

test("a person gives a stuck message up; others of its key go on, and it is no longer reported", async () => {
  const changes: number[] = [];
  const { clock, intake, deadLettered, settled, push } = bench(
    {
      keyOf,
      async handle(batch) {
        if (batch.some((item) => idOf(item) === "a:bad")) throw new TypeError("a bug");
        return batch.map(() => ACK);
      },
    },
    { onStuck: (change) => changes.push(change) },
  );
  push("a:bad", "a:next", "b:other");
  expect(intake.giveUp("a:bad")).toBe(false);
  await clock.run({ until: () => intake.stuck.length > 0 });
  expect(intake.stuck).toMatchObject([{ queue: "q", messageId: "a:bad", code: "internal", failures: 5 }]);
  expect([intake.giveUp("b:other"), intake.giveUp("a:bad")]).toEqual([false, true]);
  await clock.run({ maxMs: 10_000 });
  expect(deadLettered).toMatchObject([{ id: "a:bad", code: "internal" }]);
  expect(settled.toSorted()).toEqual(["a:bad", "a:next", "b:other"]);
  expect([intake.stuck, intake.count, changes]).toEqual([[], 0, [1, -1]]);
});

test("what the driver refuses is counted until it is safe among the dead letters", async () => {
  const { clock, intake, deadLettered, settled } = bench({ handle: async (batch) => batch.map(() => ACK) });
  intake.refuse(delivery("odd"), 1, "envelope.misrouted", "by another way");
  expect([intake.count, intake.bytes]).toEqual([1, 3]);
  await clock.run();
  expect(deadLettered).toMatchObject([{ id: "odd", code: "envelope.misrouted", detail: "by another way" }]);
  expect([settled, intake.count]).toEqual([["odd"], 0]);
});

test("draining ends in time though a handler never does, and leaves no timer", async () => {
  const { clock, intake, push, events } = bench({ handle: () => new Promise<Verdict[]>(() => undefined) });
  push("a");
  await clock.run({ maxMs: 100 });
  let drained = false;
  void intake.drain().then(() => {
    drained = true;
  });
  await clock.run({ until: () => drained, maxMs: 10_000 });
  expect([drained, intake.count, clock.pending]).toEqual([true, 0, 0]);
  expect(events.at(-1)).toMatchObject({ event: "bus.fault" });
});

test("nothing is handled between a pause and its end", async () => {
  const handled: string[] = [];
  const { clock, intake, push } = bench({
    async handle(batch) {
      handled.push(...batch.map(idOf));
      return batch.map(() => ACK);
    },
  });
  const resume = await intake.pause();
  push("a", "b");
  await clock.run();
  expect(handled).toEqual([]);
  resume();
  await clock.run();
  expect(handled).toEqual(["a", "b"]);
});

test("finds the message at fault when preparing fails", async () => {
  const { clock, settled, deadLettered, push } = bench<string>({
    async prepare(batch) {
      if (batch.some(({ messageId }) => messageId === "3")) throw new FabricError("envelope.schema", "bad");
      return batch.map(({ messageId }) => `prepared ${messageId}`);
    },
    async handle(batch) {
      for (const item of batch) expect(item.value).toBe(`prepared ${idOf(item)}`);
      return batch.map(() => ACK);
    },
  });
  push(...ids(8));
  await clock.run();
  expect(deadLettered.map(({ id }) => id)).toEqual(["3"]);
  expect(settled.toSorted()).toEqual(ids(8));
});

test("settles a dead letter only when it is safe", async () => {
  let failures = 0;
  const log: string[] = [];
  const { clock, push } = bench(
    { handle: async (batch) => batch.map(() => ({ do: "dead", code: "envelope.schema" })) },
    {
      outlet: {
        settle: (items) => log.push(`settled ${items.length}`),
        deadLetter: async () => {
          if (++failures < 4) throw new FabricError("bus.unavailable", "down");
          log.push("kept");
        },
      },
    },
  );
  push("a");
  await clock.run();
  expect([failures, log]).toEqual([4, ["kept", "settled 1"]]);
});

test("drains in the middle of an outage, and of a dead letter, without settling", async () => {
  const handle = async (batch: readonly Prepared<undefined>[]): Promise<Verdict[]> => {
    if (batch.some((item) => idOf(item) === "out")) throw new FabricError("store.unavailable", "down");
    return batch.map(() => ({ do: "dead", code: "envelope.schema" }));
  };
  const { clock, intake, settled, push } = bench({ handle });
  push("out");
  await clock.run({ maxMs: 500 });
  await intake.drain();
  expect(settled).toEqual([]);

  const other = bench(
    { handle },
    { outlet: { settle: () => undefined, deadLetter: () => Promise.reject(new Error("down")) } },
  );
  other.push("dead");
  await other.clock.run({ maxMs: 500 });
  await other.intake.drain();
  expect(other.intake.count).toBe(0);
});

test("counts what it holds", async () => {
  const opened = Promise.withResolvers<void>();
  const { clock, intake, push } = bench(
    {
      async handle(batch) {
        await opened.promise;
        return batch.map(() => ACK);
      },
    },
    { limits: limitsOf({ maxInFlight: 3, maxBytes: 10 }) },
  );
  expect(intake.fits(11)).toBe(true);
  push("aaaa", "bbbb");
  expect([intake.count, intake.bytes]).toEqual([2, 8]);
  expect([intake.fits(2), intake.fits(3)]).toEqual([true, false]);
  push("c");
  expect(intake.fits(0)).toBe(false);
  opened.resolve();
  await clock.run();
  expect([intake.count, intake.bytes]).toEqual([0, 0]);
});
