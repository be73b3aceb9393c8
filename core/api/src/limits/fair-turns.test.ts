import fc from "fast-check";
import { expect, test } from "vitest";
import { FairTurns } from "./fair-turns.ts";
import { turnsOf } from "./limits.ts";

const never = new AbortController().signal;

/** Takes a turn and records its name when the turn begins. */
function bench(atOnce: number, perTenant: number) {
  let nowMs = 0;
  const turns = new FairTurns({ atOnce, perTenant }, () => nowMs);
  const pass = (ms: number) => (nowMs += ms);
  const begun: string[] = [];
  const ends = new Map<string, () => void>();
  const take = (name: string, signal = never) =>
    turns.take(name.split(" ")[0] as string, signal).then((end) => {
      ends.set(name, end);
      if (!signal.aborted) begun.push(name);
    });
  const end = async (name: string) => {
    ends.get(name)?.();
    await settled();
  };
  return { turns, begun, take, end, pass };
}

async function settled(): Promise<void> {
  for (let i = 0; i < 5; i++) await Promise.resolve();
}

test("one tenant's flood leaves room for another that was there lately, and waits behind itself", async () => {
  const { begun, take, end } = bench(4, 2);
  void take("honest 0");
  await settled();
  await end("honest 0");
  for (let i = 0; i < 100; i++) void take(`evil ${i}`);
  await settled();
  expect(begun).toEqual(["honest 0", "evil 0", "evil 1"]);
  void take("honest 1");
  await settled();
  expect(begun.at(-1)).toBe("honest 1");
  await end("evil 0");
  expect(begun.at(-1)).toBe("evil 2");
});

test("a tenant that is alone has all turns until another one comes, and again when that is gone for long", async () => {
  const { begun, take, end, pass } = bench(3, 1);
  for (let i = 0; i < 20; i++) void take(`busy ${i}`);
  await settled();
  expect(begun).toEqual(["busy 0", "busy 1", "busy 2"]);
  void take("rare 0");
  await end("busy 0");
  expect(begun.at(-1)).toBe("rare 0");
  for (const name of ["busy 1", "rare 0"]) await end(name);
  expect(begun.length).toBe(4);
  await end("busy 2");
  expect(begun.slice(4)).toEqual(["busy 3"]);
  pass(10_000);
  await end("busy 3");
  expect(begun.slice(5)).toEqual(["busy 4", "busy 5", "busy 6"]);
});

test("tenants have turns one after the other, however much each asks for", async () => {
  const { begun, take, end } = bench(1, 1);
  for (let i = 0; i < 50; i++) void take(`evil ${i}`);
  void take("a 0");
  void take("a 1");
  void take("b 0");
  await settled();
  for (const name of ["evil 0", "a 0", "b 0", "evil 1", "a 1", "evil 2"]) {
    expect(begun.at(-1)).toBe(name);
    await end(name);
  }
});

test("who is gone does not wait, takes no turn and leaves nothing behind", async () => {
  const { turns, begun, take, end } = bench(1, 1);
  const gone = new AbortController();
  void take("a 0");
  const waiting = take("b 0", gone.signal);
  void take("c 0");
  gone.abort();
  await waiting;
  await take("d 0", gone.signal);
  await end("a 0");
  expect(begun).toEqual(["a 0", "c 0"]);
  await end("c 0");
  expect(turns.working).toBe(0);
});

test("a turn ends once", async () => {
  const { turns, take, end } = bench(2, 2);
  void take("a 0");
  void take("a 1");
  await settled();
  await end("a 0");
  await end("a 0");
  expect(turns.working).toBe(1);
});

const asked = fc.record({
  tenant: fc.constantFrom("a", "b", "c", "d"),
  leaves: fc.boolean(),
  works: fc.nat(9),
});

test("in any order of asking, leaving and ending, bounds hold and everybody who stays has a turn", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(asked, { maxLength: 200 }), async (all) => {
      const turns = new FairTurns({ atOnce: 3, perTenant: 2 });
      const working = new Map<string, number>();
      let served = 0;
      let left = 0;
      const ask = async ({ tenant, leaves, works }: (typeof all)[number]) => {
        const gone = new AbortController();
        if (leaves) queueMicrotask(() => gone.abort());
        const end = await turns.take(tenant, gone.signal);
        if (gone.signal.aborted) {
          left += 1;
          end();
          return;
        }
        const mine = (working.get(tenant) ?? 0) + 1;
        working.set(tenant, mine);
        expect(mine).toBeLessThanOrEqual(3);
        expect(turns.working).toBeLessThanOrEqual(3);
        for (let i = 0; i < works; i++) await Promise.resolve();
        working.set(tenant, (working.get(tenant) ?? 0) - 1);
        served += 1;
        end();
      };
      await Promise.all(all.map(ask));
      expect(served).toBeGreaterThanOrEqual(all.filter(({ leaves }) => !leaves).length);
      expect(served + left).toBe(all.length);
      expect(turns.working).toBe(0);
    }),
  );
});

test.each([
  [2, { atOnce: 1, perTenant: 1 }],
  [6, { atOnce: 4, perTenant: 2 }],
  [50, { atOnce: 33, perTenant: 16 }],
])(
  "with %i connections some are left for the way in and out, and some for other tenants",
  (connections, turns) => {
    expect(turnsOf(connections)).toEqual(turns);
  },
);
