/** Attempts that fail, time out, are cancelled, or whose client is closed meanwhile: nothing of them may be left. */
import { expect, vi } from "vitest";
import { DEAD_LETTERS, type QueueSpec } from "../bus.ts";
import { type BusCase, type BusHarness, eventually, message, outcome, QUEUE, recorder } from "./case.ts";

const REQUESTS: QueueSpec = { name: "core.requests", kind: "shared", bindings: [{ service: "core" }] };
const UNDECLARED: QueueSpec = { name: "irc.late.p00", kind: "partition", bindings: [{ action: "late" }] };
const NOTES: QueueSpec = { name: "irc.notes", kind: "transient", bindings: [{ action: "changed" }] };
const HELLO = { service: "core", instance: "primary", action: "hello", partition: 0 };
const LATE = { service: "irc", instance: "primary", action: "late", partition: 1 };
const NOBODY = { service: "nobody", instance: "primary", action: "hello", partition: 0 };

export const FAILING: Record<string, BusCase> = {
  "leaves nothing of an attempt that fails, times out or is called off": async (harness) => {
    const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([QUEUE, REQUESTS]);
    await core.subscribe(REQUESTS, recorder());
    // The first request makes the reply queue, which stays; so does what looks after it.
    expect(await outcome(bus.request(message("0", { route: HELLO }), { timeoutMs: 100 }))).toBe(
      "bus.timeout",
    );
    const before = await quiet(harness);

    const later = new AbortController();
    const { signal } = later;
    const pending = [
      outcome(bus.publish(message("off"), { signal })),
      outcome(bus.request(message("off?", { route: HELLO }), { timeoutMs: 60_000, signal })),
    ];
    const failing = [
      outcome(bus.subscribe(UNDECLARED, recorder())),
      outcome(bus.publish(message("1", { route: NOBODY }))),
      outcome(bus.publish(message("2", { kid: "a\0b" }))),
      outcome(bus.publish(message("3"), { signal: AbortSignal.abort() })),
      outcome(bus.request(message("4", { route: NOBODY }), { timeoutMs: 60_000 })),
      outcome(bus.request(message("5", { route: HELLO }), { timeoutMs: 20 })),
      outcome(bus.reply("core._.hello.p00", message("6"))),
      outcome(core.declare([{ ...QUEUE, kind: "shared" }])),
    ];
    expect(await Promise.all(failing)).toEqual([
      "bus.unavailable",
      "bus.unroutable",
      "envelope.schema",
      "bus.timeout",
      "bus.unroutable",
      "bus.timeout",
      "topic.malformed",
      "bus.unavailable",
    ]);
    later.abort();
    expect((await Promise.all(pending)).at(1)).toBe("bus.timeout");
    expect(await settled(harness, before)).toEqual(before);
  },

  "does not bring a rejected subscription back when its queue is declared": async (harness) => {
    const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([QUEUE]);
    const rejected = recorder();
    for (let at = 0; at < 3; at++)
      expect(await outcome(bus.subscribe(UNDECLARED, rejected))).toBe("bus.unavailable");
    const before = await quiet(harness);
    await core.declare([UNDECLARED]);
    const seen = recorder();
    const held = await core.subscribe(UNDECLARED, seen);
    for (let at = 0; at < 20; at++) await bus.publish(message(`m${at}`, { route: LATE }));
    await eventually(harness, "all arrive", () => seen.ids.length === 20);
    expect(rejected.ids).toEqual([]);
    await held.drain();
    const after = await settled(harness, { ...before, queues: before.queues + 1 });
    expect(after.consumers).toBe(before.consumers);
  },

  "leaves nothing of a client that is closed in the middle of its attempts": async (harness) => {
    const core = await harness.connect("core");
    await core.declare([QUEUE, REQUESTS, DEAD_LETTERS]);
    await core.subscribe(REQUESTS, recorder());
    const before = await quiet(harness);
    for (let round = 0; round < 3; round++) {
      const bus = await harness.connect("irc");
      const attempts = [
        outcome(bus.subscribe(QUEUE, recorder())),
        outcome(bus.subscribe(NOTES, recorder())),
        outcome(bus.subscribe(UNDECLARED, recorder())),
        outcome(bus.request(message(`r${round}`, { route: HELLO }), { timeoutMs: 60_000 })),
        outcome(bus.publish(message(`p${round}`, { route: NOBODY }))),
        outcome(bus.declare([QUEUE])),
      ];
      await bus[Symbol.asyncDispose]();
      await Promise.all(attempts);
    }
    expect(await settled(harness, before)).toEqual(before);
  },
};

type Leftovers = Awaited<ReturnType<BusHarness["leftovers"]>>;

/** The least that is there while nothing happens; what looks after the topology comes and goes. */
async function quiet(harness: BusHarness): Promise<Leftovers> {
  let least = await harness.leftovers();
  let same = 0;
  const look = async (): Promise<void> => {
    const now = await harness.leftovers();
    same = now.timers >= least.timers && now.channels >= least.channels ? same + 1 : 0;
    if (same === 0) least = now;
    expect(same).toBeGreaterThanOrEqual(4);
  };
  // Where it never is quiet, the least is what was seen last.
  await vi.waitFor(look, { timeout: harness.patienceMs ?? 5_000, interval: 20 }).catch(() => undefined);
  return least;
}

/** Waits until no more is there than before. @returns what is there, told like `before` where it is no more */
async function settled(harness: BusHarness, before: Leftovers): Promise<Leftovers> {
  let now = await harness.leftovers();
  const look = async (): Promise<void> => {
    now = await harness.leftovers();
    for (const name of Object.keys(before) as (keyof Leftovers)[]) {
      expect(now[name], name).toBeLessThanOrEqual(before[name]);
    }
  };
  const timeout = (harness.patienceMs ?? 5_000) + 5_000;
  return vi.waitFor(look, { timeout, interval: 20 }).then(
    () => before,
    () => now,
  );
}
