import { EventEmitter } from "node:events";
import { setImmediate as nextRound } from "node:timers/promises";
import type { ChannelModel, ConsumeMessage } from "amqplib";
import { expect, test } from "vitest";
import { ACK } from "../bus.ts";
import { limitsOf } from "../intake/options.ts";
import { seededRandom, VirtualClock } from "../virtual-clock.ts";
import { AmqpSubscription } from "./subscription.ts";
import type { AmqpSubscriptionOptions } from "./subscription-options.ts";

type Receive = (message: ConsumeMessage | null) => void;

/** What happens at each step of the channel with this number; absent: it succeeds at once. */
interface Steps {
  readonly open?: (nth: number) => Promise<void> | undefined;
  readonly consume?: (nth: number, receive: Receive) => void;
  readonly close?: (nth: number) => Promise<void> | undefined;
}

/** What amqplib's channel is to a consumer. */
class FakeChannel extends EventEmitter {
  isOpen = true;
  isConsuming = false;
  receive: Receive = () => undefined;
  readonly #nth: number;
  readonly #steps: Steps;

  constructor(nth: number, steps: Steps) {
    super();
    this.#nth = nth;
    this.#steps = steps;
  }

  prefetch(): Promise<void> {
    return Promise.resolve();
  }

  consume(_queue: string, receive: Receive): Promise<void> {
    this.isConsuming = true;
    this.receive = receive;
    this.#steps.consume?.(this.#nth, receive);
    return Promise.resolve();
  }

  async close(): Promise<void> {
    await this.#steps.close?.(this.#nth);
    this.isOpen = false;
  }
}

function bench(steps: Steps) {
  const clock = new VirtualClock(1);
  const channels: FakeChannel[] = [];
  const connection = {
    createChannel: async () => {
      const channel = new FakeChannel(channels.length, steps);
      channels.push(channel);
      await steps.open?.(channels.length - 1);
      return channel;
    },
  } as unknown as ChannelModel;
  const options = {
    spec: { name: "irc.work.p00", kind: "partition", bindings: [] },
    handler: { handle: (batch: readonly unknown[]) => Promise.resolve(batch.map(() => ACK)) },
    limits: limitsOf(),
    connection: () => connection,
    declared: () => [],
    repair: () => Promise.resolve(),
    onDrained: () => undefined,
    intake: { clock, random: seededRandom(1) },
    listener: undefined,
  } as unknown as AmqpSubscriptionOptions<undefined>;
  const consumers = () => channels.filter((channel) => channel.isConsuming && channel.isOpen).length;
  return { clock, channels, connection, consumers, subscription: new AmqpSubscription(options) };
}

test("a consumer that the broker cancels while it is being attached for the first time comes back", async () => {
  const { clock, channels, connection, consumers, subscription } = bench({
    consume: (nth, receive) => {
      if (nth === 0) receive(null);
    },
  });
  await subscription.attach(connection);
  await clock.run({ until: () => channels.length > 1, maxMs: 60_000 });
  await clock.run({ maxMs: 60_000 });
  expect([channels[0]?.isOpen, consumers()]).toEqual([false, 1]);
});

test("a consumer that a new connection has brought back is not brought back again", async () => {
  const closing = Promise.withResolvers<void>();
  const opening = Promise.withResolvers<void>();
  const { clock, channels, connection, consumers, subscription } = bench({
    open: (nth) => (nth === 1 ? opening.promise : undefined),
    close: (nth) => (nth === 0 ? closing.promise : undefined),
  });
  await subscription.attach(connection);
  channels[0]?.receive(null);
  const restoring = subscription.restore(connection);
  // The old channel is closed, and its turn comes only when the new one is there.
  closing.resolve();
  await nextRound();
  opening.resolve();
  await restoring;
  await clock.run({ maxMs: 60_000 });
  expect([channels.length, consumers()]).toEqual([2, 1]);
});
