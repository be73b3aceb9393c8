import { describe, expect, test } from "vitest";
import type { QueueSpec } from "../bus.ts";
import { busContract } from "../contract/bus-contract.ts";
import { message, outcome, recorder } from "../contract/case.ts";
import { embeddedHarness } from "../contract/embedded-harness.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { EmbeddedBroker } from "./broker.ts";

const queue = (service: string): QueueSpec => ({ name: service, kind: "shared", bindings: [{ service }] });
const sent = (id: string, service: string, bytes: number) =>
  message(id, { body: new Uint8Array(bytes), route: { ...message("").route, service } });

describe("the embedded bus keeps the bus contract:", () => {
  busContract(async () => embeddedHarness());
});

test("all queues together hold no more bytes than the broker may, and take more when they are emptied", async () => {
  const broker = new EmbeddedBroker({ maxBytes: 1_000 });
  const bus = broker.connect("irc");
  broker.declare([queue("a"), queue("b")]);
  const rest = { mandatory: false };
  await bus.publish({ ...sent("1", "a", 600), ...rest });
  await bus.publish({ ...sent("2", "b", 600), ...rest });
  expect(await outcome(bus.publish({ ...sent("3", "b", 1), ...rest }))).toBe("bus.unavailable");
  const seen = recorder();
  const subscription = await bus.subscribe(queue("a"), seen);
  await expect.poll(() => seen.ids).toEqual(["1"]);
  expect(await outcome(bus.publish({ ...sent("3", "b", 1), ...rest }))).toBe("confirmed");
  await subscription.drain();
  bus.kill();
});

test("one client's unconfirmed bytes are bounded, and those of a publish that was called off do not count", async () => {
  const broker = new EmbeddedBroker({ maxUnconfirmedBytes: 1_000 });
  const bus = broker.connect("irc");
  broker.declare([queue("a")]);
  const off = new AbortController();
  const first = outcome(bus.publish(sent("1", "a", 900), { signal: off.signal }));
  expect(await outcome(bus.publish(sent("2", "a", 200)))).toBe("bus.unavailable");
  off.abort();
  expect(await first).toBe("bus.timeout");
  const second = outcome(bus.publish(sent("3", "a", 200)));
  await bus.subscribe(queue("a"), recorder());
  expect(await second).toBe("confirmed");
  bus.kill();
});

test("a client that is reconnecting refuses an undeclared queue at once, and leaves no timer when it is killed", async () => {
  const clock = new VirtualClock(1);
  const broker = new EmbeddedBroker({ clock, faults: { reconnectMs: () => 60_000 } });
  const bus = broker.connect("irc");
  bus.drop();
  expect(await outcome(bus.subscribe(queue("a"), recorder()))).toBe("bus.unavailable");
  void outcome(bus.publish(sent("1", "a", 1)));
  expect(clock.pending).toBe(1);
  bus.kill();
  expect(clock.pending).toBe(0);
});
