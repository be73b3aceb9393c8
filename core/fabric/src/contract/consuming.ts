import { expect } from "vitest";
import { ACK, type QueueSpec } from "../bus.ts";
import {
  type BusCase,
  eventually,
  gated,
  ids,
  message,
  outcome,
  publishAll,
  QUEUE,
  recorder,
  roundTrip,
  unique,
} from "./case.ts";

const SHARED: QueueSpec = { name: "irc.shared", kind: "shared", bindings: [{ service: "irc" }] };
const FAN_OUT: QueueSpec = { name: "irc.listener", kind: "transient", bindings: [{ action: "fanout" }] };

export const CONSUMING: Record<string, BusCase> = {
  "handles one batch at a time, none larger than asked for": async (harness) => {
    const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([QUEUE]);
    let [running, most, prepared] = [0, 0, 0];
    const sizes: number[] = [];
    await core.subscribe<number>(
      QUEUE,
      {
        prepare: async (batch) => batch.map(() => prepared++),
        async handle(batch) {
          most = Math.max(most, ++running);
          sizes.push(batch.length);
          await new Promise((resolve) => setImmediate(resolve));
          running--;
          return batch.map(() => ACK);
        },
      },
      { maxBatch: 10 },
    );
    await publishAll(bus, ids(100));
    await eventually(harness, "all are handled", () => sizes.reduce((a, b) => a + b, 0) === 100);
    expect(most).toBe(1);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(10);
  },

  "prepares the next batch while one is handled": async (harness) => {
    const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([QUEUE]);
    const gate = gated();
    let prepared = 0;
    const prepare = async (batch: readonly unknown[]): Promise<undefined[]> => {
      prepared += batch.length;
      return batch.map(() => undefined);
    };
    await core.subscribe(QUEUE, { handle: (batch) => gate.handler.handle(batch), prepare }, { maxBatch: 1 });
    const publishes = ids(3).map((id) => outcome(bus.publish(message(id))));
    await gate.entered;
    await eventually(harness, "the next is prepared", () => prepared === 2);
    expect(gate.handler.ids).toEqual(["0"]);
    gate.open();
    expect(await Promise.all(publishes)).toEqual(["confirmed", "confirmed", "confirmed"]);
    await eventually(harness, "all are handled", () => gate.handler.ids.length === 3);
    expect(gate.handler.ids).toEqual(ids(3));
  },

  "settles only after the handler has decided": async (harness) => {
    const [bus, first, second] = await three(harness);
    await first.declare([QUEUE]);
    const gate = gated();
    await first.subscribe(QUEUE, gate.handler);
    const publish = outcome(bus.publish(message("a")));
    await gate.entered;
    await roundTrip(harness, first);
    const seen = recorder();
    await second.subscribe(QUEUE, seen);
    await harness.crash(first);
    await eventually(harness, "the other consumer gets it", () => seen.ids.includes("a"));
    expect(seen.deliveries[0]).toMatchObject({ redelivered: true });
    expect(await publish).toBe("confirmed");
    gate.open();
  },

  "gives a partition to one consumer; another waits and takes over": async (harness) => {
    const [bus, first, second] = await three(harness);
    await first.declare([QUEUE]);
    const [a, b] = [recorder(), recorder()];
    const subscription = await first.subscribe(QUEUE, a);
    await second.subscribe(QUEUE, b);
    await publishAll(bus, ids(50));
    await eventually(harness, "the first gets them", () => a.ids.length === 50);
    expect(b.ids).toEqual([]);
    await subscription.drain();
    await publishAll(bus, ids(50, "later"));
    await eventually(harness, "the second gets the others", () => b.ids.length === 50);
    expect([a.ids, b.ids]).toEqual([ids(50), ids(50, "later")]);
  },

  "delivers again, in order, what a crashed consumer left": async (harness) => {
    const [bus, first, second] = await three(harness);
    await first.declare([QUEUE]);
    const gate = gated();
    await first.subscribe(QUEUE, gate.handler, { maxBatch: 5 });
    const publishes = ids(30).map((id) => outcome(bus.publish(message(id))));
    await gate.entered;
    await roundTrip(harness, first);
    const seen = recorder();
    await second.subscribe(QUEUE, seen);
    await harness.crash(first);
    await eventually(harness, "all arrive", () => unique(seen.ids).length === 30);
    expect(seen.ids).toEqual(ids(30));
    for (const each of await Promise.all(publishes)) expect(each).toBe("confirmed");
    gate.open();
  },

  "drops a decision about deliveries of a lost connection": async (harness) => {
    const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([QUEUE]);
    const gate = gated();
    await core.subscribe(QUEUE, gate.handler, { maxBatch: 1 });
    const publishes = ["a", "b"].map((id) => outcome(bus.publish(message(id))));
    await gate.entered;
    await roundTrip(harness, core);
    await harness.cut(core);
    gate.open();
    await eventually(harness, "both come again", () => gate.handler.ids.length === 3);
    expect(gate.handler.ids).toEqual(["a", "a", "b"]);
    expect(gate.handler.deliveries[1]).toMatchObject({ messageId: "a", redelivered: true });
    expect(await Promise.all(publishes)).toEqual(["confirmed", "confirmed"]);
  },

  "hands each message of a shared queue to one consumer": async (harness) => {
    const [bus, first, second] = await three(harness);
    await first.declare([SHARED]);
    const [a, b] = [recorder(), recorder()];
    await first.subscribe(SHARED, a, { maxInFlight: 4 });
    await second.subscribe(SHARED, b, { maxInFlight: 4 });
    await publishAll(bus, ids(100));
    await eventually(harness, "all arrive", () => a.ids.length + b.ids.length === 100);
    expect(unique([...a.ids, ...b.ids]).length).toBe(100);
    expect(a.ids.length).toBeGreaterThan(0);
    expect(b.ids.length).toBeGreaterThan(0);
  },

  "lets a transient queue live with its subscriber": async (harness) => {
    const [bus, first, second] = await three(harness);
    await first.declare([]);
    const [a, b] = [recorder(), recorder()];
    const subscription = await first.subscribe(FAN_OUT, a);
    const other = await second.subscribe(FAN_OUT, b);
    const route = { ...message("").route, action: "fanout" };
    await bus.publish(message("1", { route }));
    await eventually(harness, "both get it", () => a.ids.length === 1 && b.ids.length === 1);
    await subscription.drain();
    await bus.publish(message("2", { route }));
    await eventually(harness, "one gets it", () => b.ids.length === 2);
    await other.drain();
    expect(await outcome(bus.publish(message("3", { route })))).toBe("bus.unroutable");
    expect(a.ids).toEqual(["1"]);
  },

  "bounds what is in flight by count": async (harness) => {
    const [bus, first, second] = await three(harness);
    await first.declare([SHARED]);
    const [gate, others] = [gated(), recorder()];
    await first.subscribe(SHARED, gate.handler, { maxInFlight: 5, maxBatch: 2 });
    const publishes = ids(20).map((id) => outcome(bus.publish(message(id))));
    await gate.entered;
    await second.subscribe(SHARED, others, { maxInFlight: 5 });
    await eventually(harness, "another gets the rest", () => others.ids.length >= 15);
    gate.open();
    for (const each of await Promise.all(publishes)) expect(each).toBe("confirmed");
    await eventually(harness, "all are handled", () => gate.handler.ids.length + others.ids.length === 20);
    expect(gate.handler.ids.length).toBeLessThanOrEqual(5);
  },

  "bounds what is in flight by bytes": async (harness) => {
    const [bus, first, second] = await three(harness);
    await first.declare([SHARED]);
    const [gate, others] = [gated(), recorder()];
    await first.subscribe(SHARED, gate.handler, { maxBytes: 250_000, maxBatch: 1 });
    const body = new Uint8Array(100_000);
    const publishes = ids(20).map((id) => outcome(bus.publish(message(id, { body }))));
    await gate.entered;
    await second.subscribe(SHARED, others);
    await eventually(harness, "another gets the rest", () => unique(others.ids).length >= 17);
    gate.open();
    for (const each of await Promise.all(publishes)) expect(each).toBe("confirmed");
  },

  "drains: finishes and settles the current batch, and leaves the rest": async (harness) => {
    const [bus, first, second] = await three(harness);
    await first.declare([QUEUE]);
    const gate = gated();
    const subscription = await first.subscribe(QUEUE, gate.handler, { maxBatch: 3 });
    const publishes = ids(9).map((id) => outcome(bus.publish(message(id))));
    await gate.entered;
    const drained = subscription.drain();
    const seen = recorder();
    await second.subscribe(QUEUE, seen);
    gate.open();
    await drained;
    const inHand = gate.handler.ids;
    await eventually(harness, "the rest arrives", () => inHand.length + seen.ids.length === 9);
    expect(gate.handler.batches.length).toBe(1);
    expect([...inHand, ...seen.ids]).toEqual(ids(9));
    for (const each of await Promise.all(publishes)) expect(each).toBe("confirmed");
  },

  "declares again without effect, and knows what is not declared": async (harness) => {
    const bus = await harness.connect("irc");
    await bus.declare([]);
    expect(await outcome(bus.subscribe(QUEUE, recorder()))).toBe("bus.unavailable");
    await Promise.all([bus.declare([QUEUE]), bus.declare([QUEUE])]);
    await bus.declare([{ ...QUEUE, bindings: [...QUEUE.bindings, { service: "xmpp", partition: 0 }] }]);
    const seen = recorder();
    await bus.subscribe(QUEUE, seen);
    await bus.publish(message("a"));
    await bus.publish(message("b", { route: { ...message("").route, service: "xmpp" } }));
    await eventually(harness, "both arrive", () => seen.ids.length === 2);
    expect(seen.ids).toEqual(["a", "b"]);
  },
};

async function three(harness: Parameters<BusCase>[0]) {
  return [
    await harness.connect("irc"),
    await harness.connect("core"),
    await harness.connect("core"),
  ] as const;
}
