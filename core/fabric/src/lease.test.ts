import { FabricError } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { sleep } from "./clock.ts";
import { holdLease, type LeaseAnswer, type Tenure } from "./lease.ts";
import { seededRandom, VirtualClock } from "./virtual-clock.ts";

const TTL_MS = 9_000;

/** The authority, as the core's store is: one holder, each tenure with a higher epoch. */
class Authority {
  readonly #clock: VirtualClock;
  #epoch = 0;
  #holder: string | undefined;
  #until = Number.NEGATIVE_INFINITY;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  ask(holder: string, epoch: number | undefined): LeaseAnswer {
    const now = this.#clock.now();
    const held = this.#until > now;
    if (held && this.#holder !== holder) return { state: "taken", retryAfterMs: this.#until - now };
    if (!held || epoch !== this.#epoch) this.#epoch++;
    this.#holder = holder;
    this.#until = now + TTL_MS;
    return { state: "held", epoch: this.#epoch, ttlMs: TTL_MS };
  }

  /** As after a SIGKILL of the holder and an administrator's hand. */
  revoke(): void {
    this.#until = Number.NEGATIVE_INFINITY;
    this.#holder = "somebody else";
    this.#until = this.#clock.now() + TTL_MS;
  }
}

/** Stands still while the machine is suspended. */
class SuspendedClock extends VirtualClock {
  #suspendedMs = 0;

  suspend(forMs: number): void {
    this.#suspendedMs += forMs;
  }

  suspendedMs(): number {
    return this.#suspendedMs;
  }
}

function ended(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function bench(acquire: (epoch: number | undefined, clock: VirtualClock) => Promise<LeaseAnswer>) {
  const clock = new VirtualClock(1);
  const stop = new AbortController();
  const tenures: { readonly tenure: Tenure; readonly from: number; to: number | undefined }[] = [];
  const done = holdLease({
    acquire: (epoch) => acquire(epoch, clock),
    clock,
    random: seededRandom(1),
    signal: stop.signal,
    async whileHeld(tenure) {
      const entry = { tenure, from: clock.now(), to: undefined as number | undefined };
      tenures.push(entry);
      await ended(tenure.signal);
      entry.to = clock.now();
    },
  });
  return { clock, stop, tenures, done };
}

test("renews at a third of the time and holds until it is stopped", async () => {
  const asked: [number, number | undefined][] = [];
  const { clock, stop, tenures, done } = bench(async (epoch, ticking) => {
    asked.push([ticking.now(), epoch]);
    return { state: "held", epoch: 7, ttlMs: TTL_MS };
  });
  await clock.run({ until: () => clock.now() > 60_000 });
  expect(tenures).toHaveLength(1);
  expect(tenures[0]?.tenure.isHeld()).toBe(true);
  expect(asked.slice(0, 4)).toEqual([
    [0, undefined],
    [3_000, 7],
    [6_000, 7],
    [9_000, 7],
  ]);
  stop.abort(new Error("shutdown"));
  await done;
  expect(tenures[0]?.tenure.signal.reason).toEqual(new Error("shutdown"));
  expect(tenures[0]?.tenure.isHeld()).toBe(false);
});

test("gives up before the authority does when renewals hang", async () => {
  let answers = 0;
  const { clock, stop, tenures, done } = bench((_, ticking) => {
    if (++answers > 1) return new Promise(() => undefined);
    // The answer takes a second; the time counts from the question.
    return sleep(ticking, 1_000).then(() => ({ state: "held", epoch: 1, ttlMs: TTL_MS }));
  });
  await clock.run({ until: () => tenures[0]?.to !== undefined });
  expect(tenures[0]?.from).toBe(1_000);
  expect(tenures[0]?.to).toBeCloseTo(TTL_MS * 0.9);
  expect(tenures[0]?.tenure.signal.reason).toMatchObject({ code: "lease.lost" });
  stop.abort();
  await done;
});

test.each([
  ["a minute: it acts no more at once, and again in the same epoch when it is renewed", 60_000, 1],
  ["ten minutes: it is lost at the next renewal, though no timer has ended", 600_000, 2],
])("the machine is suspended for %s", async (_what, forMs, terms) => {
  const clock = new SuspendedClock(1);
  const stop = new AbortController();
  const tenures: Tenure[] = [];
  const done = holdLease({
    acquire: async () => ({ state: "held", epoch: 1, ttlMs: TTL_MS, stayMs: 300_000 }),
    clock,
    random: seededRandom(1),
    signal: stop.signal,
    async whileHeld(tenure) {
      tenures.push(tenure);
      await ended(tenure.signal);
    },
  });
  await clock.run({ until: () => tenures.length === 1 });
  const [tenure] = tenures;
  expect([tenure?.isHeld(), clock.now()]).toEqual([true, 0]);
  clock.suspend(forMs);
  expect(tenure?.isHeld()).toBe(false);
  expect(tenure?.heldUntil()).toBeLessThan(clock.now());
  await clock.run({ until: () => tenures.at(-1)?.isHeld() === true });
  expect(clock.now()).toBeLessThanOrEqual(TTL_MS / 3 + 1);
  expect(tenures).toHaveLength(terms);
  stop.abort();
  await done;
});

test("after its first end it acts no more and stays; a renewal gives it back, and only the second end loses it", async () => {
  let isAway = false;
  const { clock, stop, tenures, done } = bench(async () => {
    if (isAway) throw new FabricError("bus.unavailable", "down");
    return { state: "held", epoch: 1, ttlMs: TTL_MS, stayMs: 300_000 };
  });
  const mute = () => tenures[0]?.tenure.isHeld() === false;
  await clock.run({ until: () => tenures.length === 1 });
  isAway = true;
  await clock.run({ until: () => clock.now() > 120_000 });
  expect(mute()).toBe(true);
  expect(tenures[0]?.tenure.signal.aborted).toBe(false);

  isAway = false;
  await clock.run({ until: () => clock.now() > 130_000 });
  expect(mute()).toBe(false);
  expect(tenures).toHaveLength(1);

  isAway = true;
  await clock.run({ until: () => tenures[0]?.to !== undefined });
  expect(clock.now()).toBeGreaterThan(130_000 + 250_000);
  expect(clock.now()).toBeLessThan(130_000 + 300_000);
  expect(tenures[0]?.tenure.signal.reason).toMatchObject({ code: "lease.lost" });
  stop.abort();
  await done;
});

test("survives renewals that fail, as long as one succeeds in time", async () => {
  let count = 0;
  const { clock, stop, tenures, done } = bench(async () => {
    if (++count % 2 === 0) throw new FabricError("bus.timeout", "no answer");
    return { state: "held", epoch: 1, ttlMs: TTL_MS };
  });
  await clock.run({ until: () => clock.now() > 100_000 });
  expect(tenures).toHaveLength(1);
  expect(tenures[0]?.tenure.signal.aborted).toBe(false);
  stop.abort();
  await done;
});

test("ends the tenure at once when the authority says so, and asks again", async () => {
  let authority: Authority | undefined;
  const { clock, stop, tenures, done } = bench(async (epoch, ticking) => {
    authority ??= new Authority(ticking);
    return authority.ask("me", epoch);
  });
  await clock.run({ until: () => tenures.length === 1 });
  authority?.revoke();
  await clock.run({ until: () => tenures.length === 2 });
  expect(tenures[0]?.to).toBe(3_000);
  expect(tenures[0]?.tenure.signal.reason).toMatchObject({ code: "lease.lost" });
  expect(tenures[1]?.tenure.epoch).toBeGreaterThan(tenures[0]?.tenure.epoch ?? 0);
  stop.abort();
  await done;
});

test("asks at growing intervals while the authority cannot be reached, and stops at once when it is stopped", async () => {
  const asked: number[] = [];
  const { clock, stop, done } = bench(async (_, ticking) => {
    asked.push(ticking.now());
    throw new FabricError("bus.unavailable", "down");
  });
  await clock.run({ until: () => clock.now() > 60_000 });
  const gaps = asked.slice(1).map((at, before) => at - (asked[before] ?? 0));
  expect(Math.max(...gaps)).toBeLessThanOrEqual(5_000);
  expect(gaps.length).toBeLessThan(40);
  stop.abort();
  await done;
});

test("passes on what the holder fails with, and ends when the holder ends", async () => {
  const held = async (): Promise<LeaseAnswer> => ({ state: "held", epoch: 1, ttlMs: TTL_MS });
  const signal = new AbortController().signal;
  const failing = holdLease({
    acquire: held,
    signal,
    clock: new VirtualClock(1),
    whileHeld: () => Promise.reject(new FabricError("internal", "a bug")),
  });
  await expect(failing).rejects.toMatchObject({ code: "internal" });
  await holdLease({ acquire: held, signal, clock: new VirtualClock(1), whileHeld: () => Promise.resolve() });
});

test("two processes never both think that they hold it, and one always does in the end, over 60 seeds", async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const clock = new VirtualClock(seed);
    const random = seededRandom(seed);
    const authority = new Authority(clock);
    const stop = new AbortController();
    const tenures: Tenure[] = [];
    const processes = ["a", "b"].map((name) =>
      holdLease({
        clock,
        random,
        signal: stop.signal,
        async acquire(epoch) {
          await sleep(clock, random() * 4_000);
          if (random() < 0.3) throw new FabricError("bus.timeout", "lost question");
          const answer = authority.ask(name, epoch);
          await sleep(clock, random() * 4_000);
          if (random() < 0.2) throw new FabricError("bus.timeout", "lost answer");
          return answer;
        },
        async whileHeld(tenure) {
          tenures.push(tenure);
          await ended(tenure.signal);
        },
      }),
    );
    let both = false;
    const check = (): void => {
      both ||= tenures.filter((tenure) => tenure.isHeld()).length > 1;
      if (!stop.signal.aborted) clock.after(50, check);
    };
    check();
    await clock.run({ until: () => clock.now() > 300_000 });
    expect(both, `seed ${seed}`).toBe(false);
    expect(tenures.length, `seed ${seed}`).toBeGreaterThan(0);
    const epochs = tenures.map(({ epoch }) => epoch);
    expect(epochs, `seed ${seed}`).toEqual(epochs.toSorted((a, b) => a - b));
    stop.abort();
    await Promise.all([...processes, clock.run({ maxMs: 60_000 })]);
  }
});

test("nothing is left of a lease that is called off, at whatever moment", async () => {
  const moments: Record<string, (epoch: number | undefined) => Promise<LeaseAnswer>> = {
    "while it asks": () => new Promise(() => undefined),
    "while it waits for another holder": async () => ({ state: "taken", retryAfterMs: 60_000 }),
    "while it waits after a failure": () => Promise.reject(new FabricError("bus.timeout", "down")),
    "while it holds": async () => ({ state: "held", epoch: 1, ttlMs: TTL_MS }),
    "while a renewal hangs": (epoch) =>
      epoch === undefined
        ? Promise.resolve({ state: "held", epoch: 1, ttlMs: TTL_MS })
        : new Promise(() => undefined),
  };
  for (const [moment, acquire] of Object.entries(moments)) {
    const { clock, stop, done } = bench(acquire);
    await clock.run({ until: () => clock.now() > 4_000, maxMs: 4_001 });
    stop.abort(new Error("stop"));
    await done;
    expect([moment, clock.pending]).toEqual([moment, 0]);
  }
});

test.each<[string, LeaseAnswer]>([
  ["no time to wait", { state: "taken", retryAfterMs: 0 }],
  ["a time that is none", { state: "taken", retryAfterMs: Number.NaN }],
  ["a lease of no time", { state: "held", epoch: 1, ttlMs: 0 }],
  ["a lease of a time that is none", { state: "held", epoch: 1, ttlMs: Number.NaN }],
])("an authority that names %s is not asked in a loop", async (_, answer) => {
  let asked = 0;
  const { clock, stop, tenures, done } = bench(async () => {
    asked++;
    return answer;
  });
  await clock.run({ until: () => clock.now() > 10_000 || asked > 1_000, maxMs: 10_001 });
  stop.abort();
  await done;
  expect(asked).toBeLessThanOrEqual(60);
  expect(tenures).toEqual([]);
});
