import { EventEmitter } from "node:events";
import { FabricError } from "@linkspan/envelopes";
import type { ConfirmChannel, Options } from "amqplib";
import { expect, test } from "vitest";
import type { PublishOptions } from "../bus.ts";
import type { BusEvent } from "../events.ts";
import { seededRandom, VirtualClock } from "../virtual-clock.ts";
import { Publisher } from "./publisher.ts";
import type { PublisherOptions } from "./publisher-options.ts";
import type { Encoded } from "./wire.ts";

class FakeChannel extends EventEmitter {
  readonly sent: string[] = [];
  full = false;
  isClosed = false;

  publish(_exchange: string, _key: string, content: Buffer, _options: Options.Publish): boolean {
    if (this.isClosed) throw new Error("channel closed");
    this.sent.push(content.toString());
    return !this.full;
  }

  ack(deliveryTag: number, multiple = false): void {
    this.emit("ack", { deliveryTag, multiple });
  }

  nack(deliveryTag: number): void {
    this.emit("nack", { deliveryTag, multiple: false });
  }

  /** As the broker does it. */
  lose(code?: number): void {
    this.isClosed = true;
    if (code !== undefined) this.emit("error", Object.assign(new Error("closed"), { code }));
    this.emit("close");
  }

  close(): Promise<void> {
    this.isClosed = true;
    return Promise.resolve();
  }
}

function bench(rest: Partial<PublisherOptions> = {}) {
  const clock = new VirtualClock(1);
  const events: BusEvent[] = [];
  const outcomes = new Map<string, string>();
  let lost = 0;
  const publisher = new Publisher({
    maxCount: 100,
    maxBytes: 1_000_000,
    maxWaiting: 1_000,
    maxWaitingBytes: 1_000_000,
    confirmTimeoutMs: 10_000,
    clock,
    random: seededRandom(1),
    listener: (event) => events.push(event),
    onChannelLost: () => lost++,
    ...rest,
  });
  const attach = (): FakeChannel => {
    const channel = new FakeChannel();
    publisher.attach(channel as unknown as ConfirmChannel);
    return channel;
  };
  const publish = (...ids: string[]): void => {
    for (const id of ids) {
      publisher.publish(encoded(id)).then(
        () => outcomes.set(id, "confirmed"),
        (error: unknown) => outcomes.set(id, error instanceof FabricError ? error.code : String(error)),
      );
    }
  };
  return { clock, events, outcomes, publisher, attach, publish, lost: () => lost };
}

/** Ids are `<destination><number>`. */
function encoded(id: string): Encoded {
  const destination = id.slice(0, 1);
  return { key: `${destination}.key`, destination, content: Buffer.from(id), options: { messageId: id } };
}

test("tries a destination with one message before it sends the others", () => {
  const { attach, publish } = bench();
  const channel = attach();
  publish("a1", "a2", "b1", "a3", "b2");
  expect(channel.sent).toEqual(["a1", "b1"]);
  channel.ack(1);
  expect(channel.sent).toEqual(["a1", "b1", "a2", "a3"]);
  channel.ack(2);
  expect(channel.sent).toEqual(["a1", "b1", "a2", "a3", "b2"]);
});

test("tries again, in order, what a starting broker refuses, and holds nobody else up", async () => {
  const { clock, attach, publish, outcomes } = bench();
  const channel = attach();
  publish("a1", "a2", "a3", "b1", "b2");
  channel.nack(1);
  channel.ack(2);
  expect(channel.sent).toEqual(["a1", "b1", "b2"]);
  channel.ack(3);
  publish("a4");
  await clock.run({ until: () => channel.sent.length === 4 });
  expect(channel.sent.slice(3)).toEqual(["a1"]);
  channel.ack(4);
  expect(channel.sent.slice(4)).toEqual(["a2", "a3", "a4"]);
  channel.ack(7, true);
  await Promise.resolve();
  expect([...outcomes.values()]).toEqual(Array(6).fill("confirmed"));
});

test("waits for all that is on the wire when a destination that was open refuses", async () => {
  const { clock, attach, publish } = bench();
  const channel = attach();
  publish("a0");
  channel.ack(1);
  publish("a1", "a2", "a3");
  channel.nack(3);
  publish("a4");
  channel.nack(2);
  expect(channel.sent).toEqual(["a0", "a1", "a2", "a3"]);
  channel.ack(4);
  await clock.run({ until: () => channel.sent.length > 4 });
  expect(channel.sent.slice(4)).toEqual(["a1"]);
  channel.ack(5);
  expect(channel.sent.slice(4)).toEqual(["a1", "a2", "a4"]);
});

test("sends everything undecided again in order on the next channel", () => {
  const { attach, publish } = bench({ maxCount: 3 });
  const first = attach();
  publish("a0");
  first.ack(1);
  publish("a1", "b1", "a2", "b2", "a3");
  expect(first.sent).toEqual(["a0", "a1", "b1", "a2"]);
  first.ack(2);
  first.lose();
  const second = attach();
  expect(second.sent).toEqual(["b1", "a2"]);
  second.ack(1);
  second.ack(2);
  expect(second.sent).toEqual(["b1", "a2", "b2", "a3"]);
});

test("bounds the window by count and bytes, and stops for a full socket and a blocked connection", () => {
  const { attach, publish, publisher } = bench({ maxCount: 3, maxBytes: 7 });
  const channel = attach();
  publish("a0");
  channel.ack(1);
  publish("a1", "a2", "a3", "a4");
  expect(channel.sent).toEqual(["a0", "a1", "a2", "a3"]);
  channel.ack(2);
  expect(channel.sent).toHaveLength(5);
  channel.full = true;
  channel.ack(3);
  publish("a5", "a6");
  expect(channel.sent).toHaveLength(6);
  channel.ack(6, true);
  expect(channel.sent).toHaveLength(6);
  channel.full = false;
  publisher.pause("memory");
  channel.emit("drain");
  expect(channel.sent).toHaveLength(6);
  publisher.resume();
  expect(channel.sent.at(-1)).toBe("a6");
});

test("gives a silent channel up, but not while the broker blocks", async () => {
  const { clock, attach, publish, publisher, lost, events } = bench();
  attach();
  publish("a1");
  publisher.pause("memory");
  await clock.run({ until: () => clock.now() > 60_000 });
  expect(lost()).toBe(0);
  publisher.resume();
  const resumedAt = clock.now();
  await clock.run({ until: () => lost() === 1 });
  expect(clock.now() - resumedAt).toBeGreaterThanOrEqual(2_000);
  expect(events.at(-1)).toMatchObject({ event: "bus.fault" });
  const next = attach();
  expect(next.sent).toEqual(["a1"]);
});

test("a message that the broker loses on the channel after a lost one is found, also when nothing else is published", async () => {
  const { clock, attach, publish, lost, outcomes } = bench();
  const first = attach();
  publish("a1");
  await clock.run({ until: () => false, maxMs: 500 });
  first.lose();
  const second = attach();
  expect(second.sent).toEqual(["a1"]);
  const resentAt = clock.now();
  expect(await clock.run({ until: () => lost() === 2 })).toBe(true);
  expect(clock.now() - resentAt).toBeLessThanOrEqual(10_000);
  attach().ack(1);
  await Promise.resolve();
  expect(outcomes.get("a1")).toBe("confirmed");
});

test("finds the message that makes the broker close the channel", async () => {
  const { attach, publish, outcomes } = bench();
  const first = attach();
  publish("a0");
  first.ack(1);
  publish("a1", "a2", "a3");
  first.lose(403);
  const second = attach();
  expect(second.sent).toEqual(["a1"]);
  second.ack(1);
  expect(second.sent).toEqual(["a1", "a2"]);
  second.lose(403);
  const third = attach();
  expect(third.sent).toEqual(["a3"]);
  third.ack(1);
  await Promise.resolve();
  expect(Object.fromEntries(outcomes)).toEqual({
    a0: "confirmed",
    a1: "confirmed",
    a2: "bus.unroutable",
    a3: "confirmed",
  });
});

test("matches a returned message to its own publish", async () => {
  const { attach, publish, outcomes } = bench();
  const channel = attach();
  publish("a0");
  channel.ack(1);
  publish("a1", "a2", "a3");
  channel.emit("return", { fields: { routingKey: "a.key" }, properties: { messageId: "a2" } });
  channel.ack(4, true);
  await Promise.resolve();
  expect([outcomes.get("a1"), outcomes.get("a2"), outcomes.get("a3")]).toEqual([
    "confirmed",
    "bus.unroutable",
    "confirmed",
  ]);
});

test("does not send what was called off, and says when it is flushed", async () => {
  const { attach, publish, publisher, outcomes } = bench();
  const call = new AbortController();
  const off = publisher.publish(encoded("a1"), { signal: call.signal });
  publish("a2");
  call.abort();
  await expect(off).rejects.toMatchObject({ code: "bus.timeout" });
  let flushed = false;
  const flushing = publisher.flushed().then(() => {
    flushed = true;
  });
  const channel = attach();
  expect(channel.sent).toEqual(["a2"]);
  await Promise.resolve();
  expect(flushed).toBe(false);
  channel.ack(1);
  await flushing;
  expect(outcomes.get("a2")).toBe("confirmed");
});

test("bounds what waits, and refuses when closed", async () => {
  const { publish, publisher, outcomes } = bench({ maxCount: 2, maxWaiting: 2 });
  publish("a1", "a2", "a3", "a4", "a5");
  await Promise.resolve();
  expect(Object.fromEntries(outcomes)).toEqual({ a5: "bus.unavailable" });
  publisher.close(new FabricError("bus.unavailable", "closed"));
  publish("a6");
  await Promise.resolve();
  expect([...outcomes.values()]).toEqual(Array(6).fill("bus.unavailable"));
});

test("tells when a message leaves, and nothing of one that never did", async () => {
  const { attach, publisher } = bench({ maxCount: 1 });
  const left: string[] = [];
  const off = new AbortController();
  const send = (id: string, options: PublishOptions = {}) =>
    publisher.publish(encoded(id), { ...options, onWritten: () => left.push(id) });
  const first = send("a1");
  const second = send("a2", { signal: off.signal });
  expect(left).toEqual([]);
  const channel = attach();
  expect(left).toEqual(["a1"]);
  off.abort();
  await expect(second).rejects.toMatchObject({ code: "bus.timeout" });
  channel.ack(1);
  await first;
  expect(left).toEqual(["a1"]);
});

test("bounds the bytes of all that waits, and forgets the bytes of what was called off", async () => {
  const { attach, publisher } = bench({ maxCount: 1, maxWaitingBytes: 250 });
  const send = (id: string, options?: PublishOptions) => {
    const content = Buffer.alloc(100);
    return publisher.publish({ ...encoded(id), content }, options).then(
      () => "confirmed",
      (error: unknown) => (error instanceof FabricError ? error.code : String(error)),
    );
  };
  const off = new AbortController();
  const first = send("a1");
  const second = send("a2", { signal: off.signal });
  expect(await send("a3")).toBe("bus.unavailable");
  expect(publisher.waitingBytes).toBe(200);
  off.abort();
  expect(await second).toBe("bus.timeout");
  expect(publisher.waitingBytes).toBe(100);
  const channel = attach();
  channel.ack(1);
  expect(await first).toBe("confirmed");
  expect(publisher.waitingBytes).toBe(0);
});

test("a broker that takes nothing for hours keeps no more than what is still wanted", async () => {
  const { publisher } = bench({ maxWaiting: 10, maxWaitingBytes: 1_000_000 });
  for (let round = 0; round < 4_000; round++) {
    const off = new AbortController();
    const { signal } = off;
    const publish = publisher.publish({ ...encoded(`a${round}`), content: Buffer.alloc(50_000) }, { signal });
    off.abort();
    await expect(publish).rejects.toMatchObject({ code: "bus.timeout" });
  }
  expect([publisher.waitingBytes, publisher.waitingCount < 1_100]).toEqual([0, true]);
});

test("a message that cannot be written ends itself, and holds nobody up", async () => {
  const { attach, publish, outcomes } = bench();
  const channel = attach();
  const write = channel.publish.bind(channel);
  channel.publish = (exchange, key, content, options) => {
    if (content.toString() === "b1") throw new TypeError("Field 'messageId' is the wrong type");
    return write(exchange, key, content, options);
  };
  publish("a1", "b1", "c1");
  channel.ack(2, true);
  await Promise.resolve();
  expect(Object.fromEntries(outcomes)).toEqual({ a1: "confirmed", b1: "bus.unroutable", c1: "confirmed" });
});

test("a closed publisher leaves no timer, whatever it was waiting for", async () => {
  const { clock, attach, publish, publisher, outcomes } = bench();
  const channel = attach();
  publish("a1", "b1", "c1");
  channel.nack(1);
  expect(clock.pending).toBeGreaterThan(0);
  publisher.close(new FabricError("bus.unavailable", "closed"));
  expect(clock.pending).toBe(0);
  await Promise.resolve();
  expect([...outcomes.values()]).toEqual(Array(3).fill("bus.unavailable"));
  channel.lose();
  expect(clock.pending).toBe(0);
});
