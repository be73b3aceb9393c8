import { expect, test, vi } from "vitest";
import { ACK, type Decision, type Prepared, type Verdict } from "../bus.ts";
import { bench, idOf, ids, keyOf } from "./intake-bench.ts";

/** A handler that decides when the test does, by id; the others are acknowledged at once. */
function deciding(...later: readonly string[]) {
  const open = new Map(later.map((id) => [id, Promise.withResolvers<Decision>()]));
  const handled: string[] = [];
  const handle = async (batch: readonly Prepared<undefined>[]): Promise<Verdict[]> => {
    const waiting = new Set<string>();
    return batch.map((item) => {
      if (waiting.has(keyOf(item))) return { do: "retry", afterMs: 0 };
      handled.push(idOf(item));
      const decision = open.get(idOf(item))?.promise;
      if (decision === undefined) return ACK;
      waiting.add(keyOf(item));
      return { do: "later", decision };
    });
  };
  const decide = (id: string, decision: Decision): void => open.get(id)?.resolve(decision);
  const fail = (id: string, error: unknown): void => open.get(id)?.reject(error);
  const again = (id: string): void => void open.set(id, Promise.withResolvers<Decision>());
  return { handler: { handle, keyOf }, handled, decide, fail, again };
}

test("what is decided later holds its key, and nothing is handled twice", async () => {
  const { handler, handled, decide } = deciding("a:0", "c:0");
  const { clock, settled, intake, push } = bench(handler);
  push("a:0", "a:1", "b:0", "c:0");
  await clock.run();
  push("a:2", "b:1");
  await clock.run();
  expect([handled, settled]).toEqual([
    ["a:0", "b:0", "c:0", "b:1"],
    ["b:0", "b:1"],
  ]);
  decide("a:0", ACK);
  await clock.run();
  expect(handled.slice(4)).toEqual(["a:1", "a:2"]);
  expect(settled.slice(2)).toEqual(["a:0", "a:1", "a:2"]);
  decide("c:0", ACK);
  await clock.run();
  expect([handled.length, settled.length, intake.count]).toEqual([6, 6, 0]);
});

test("decisions that come together are settled together", async () => {
  const ends = ids(20, "k").map((key) => `${key}:0`);
  const { handler, decide } = deciding(...ends);
  const { clock, outlet, intake, push } = bench(handler);
  const settle = vi.spyOn(outlet, "settle");
  push(...ends);
  await clock.run();
  for (const id of ends) decide(id, ACK);
  await clock.run();
  expect(settle.mock.calls.map(([items]) => items.map(idOf))).toEqual([ends]);
  expect(intake.count).toBe(0);
});

test("a later retry is handled again at its time, before what follows in its key", async () => {
  const { handler, handled, decide, again } = deciding("a:0");
  const { clock, settled, push } = bench(handler);
  push("a:0", "a:1");
  await clock.run();
  decide("a:0", { do: "retry", afterMs: 100 });
  await clock.run({ maxMs: 50 });
  expect(handled).toEqual(["a:0"]);
  again("a:0");
  decide("a:0", ACK);
  await clock.run();
  expect(handled).toEqual(["a:0", "a:0", "a:1"]);
  expect(settled).toEqual(["a:0", "a:1"]);
});

test("a later decision can send to the dead letters, and one that fails is tried again alone", async () => {
  const { handler, handled, decide, fail, again } = deciding("a:0", "b:0");
  const { clock, settled, deadLettered, events, push } = bench(handler);
  push("a:0", "b:0");
  await clock.run();
  decide("a:0", { do: "dead", code: "envelope.schema" });
  fail("b:0", new Error("a bug"));
  again("b:0");
  decide("b:0", ACK);
  await clock.run();
  expect(deadLettered).toMatchObject([{ id: "a:0", code: "envelope.schema" }]);
  expect(events.map(({ event }) => event)).toContain("bus.batch_rejected");
  expect(handled).toEqual(["a:0", "b:0", "b:0"]);
  expect(settled.toSorted()).toEqual(["a:0", "b:0"]);
});

test("what is decided after the connection was lost has no effect", async () => {
  const { handler, decide } = deciding("a:0", "b:0");
  const { clock, settled, deadLettered, intake, push } = bench(handler);
  push("a:0", "b:0");
  await clock.run();
  intake.abandon();
  decide("a:0", ACK);
  decide("b:0", { do: "dead", code: "envelope.schema" });
  await clock.run();
  expect([settled, deadLettered, intake.count]).toEqual([[], [], 0]);
});

test("draining settles what is decided in time, and does not wait for ever", async () => {
  const { handler, decide } = deciding("a:0", "b:0");
  const { clock, settled, intake, push } = bench(handler);
  push("a:0", "b:0");
  await clock.run();
  const drained = intake.drain().then(() => clock.now());
  clock.after(1_000, () => decide("a:0", ACK));
  await clock.run();
  expect(await drained).toBe(8_000);
  expect(settled).toEqual(["a:0"]);
});
