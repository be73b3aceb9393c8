/**
 * The bus on RabbitMQ, publish to settle, against bare amqplib doing the same: through a topic exchange, which
 * the contract asks of everybody, into a quorum queue with a single active consumer, with the same window.
 */
import { randomUUID } from "node:crypto";
import { ENVELOPE_TYPE } from "@linkspan/envelopes";
import { ACK, AmqpBus, type QueueSpec } from "@linkspan/fabric";
import amqp from "amqplib";
import { type Contest, type Run, timed } from "./compare.ts";
import { corpus, type Signed } from "./corpus.ts";

const WINDOW = 1_000;

export function transportContest(url: string, count: number): Contest {
  const messages = corpus(count, "transport");
  return {
    name: "transport",
    floor: 0.8,
    ours: () => onOurBus(url, messages),
    yardstick: () => onAmqplib(url, messages),
  };
}

/** Counts what arrives, each message once. */
function once(count: number) {
  const seen = new Set<string>();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const arrive = (id: string | undefined) => {
    if (id === undefined || seen.has(id)) reject(new Error("a message came twice, or without its id"));
    else if (seen.add(id).size === count) resolve();
  };
  return { all: promise, arrive };
}

async function onOurBus(url: string, messages: readonly Signed[]): Promise<Run> {
  const route = { service: "irc", instance: "primary", action: "inbound_event", partition: 0 };
  await using publisher = await AmqpBus.connect({ url, service: "bench", bootId: randomUUID() });
  await using consumer = await AmqpBus.connect({
    url,
    service: "bench",
    bootId: randomUUID(),
    ownsTopology: true,
  });
  const queue: QueueSpec = {
    name: "bench.transport",
    kind: "partition",
    bindings: [{ service: "irc", partition: 0 }],
  };
  await consumer.declare([queue]);
  const { all, arrive } = once(messages.length);
  await using _subscription = await consumer.subscribe(queue, {
    handle: (batch) => {
      for (const { delivery } of batch) arrive(delivery.messageId);
      return Promise.resolve(batch.map(() => ACK));
    },
  });
  return await timed(messages.length, async () => {
    const confirmed = messages.map((message) => publisher.publish({ ...message, route }));
    await Promise.all([...confirmed, all]);
  });
}

async function onAmqplib(url: string, messages: readonly Signed[]): Promise<Run> {
  const publishing = await amqp.connect(url);
  const consuming = await amqp.connect(url);
  const out = await publishing.createConfirmChannel();
  const into = await consuming.createChannel();
  const exchange = "bench.raw";
  const queue = "bench.raw";
  const key = "irc._.inbound_event.p00";
  const args = { "x-queue-type": "quorum", "x-single-active-consumer": true };
  await into.assertExchange(exchange, "topic", { durable: true });
  await into.assertQueue(queue, { durable: true, arguments: args });
  await into.bindQueue(queue, exchange, "irc.*.*.p00");
  await into.prefetch(WINDOW);
  const { all, arrive } = once(messages.length);
  let unacked = 0;
  let seen = 0;
  await into.consume(queue, (message) => {
    if (message === null) return;
    arrive(message.properties.messageId as string);
    unacked += 1;
    seen += 1;
    if (unacked < 100 && seen < messages.length) return;
    unacked = 0;
    into.ack(message, true);
  });
  const run = await timed(messages.length, async () => {
    let unconfirmed = 0;
    let wake = () => undefined as void;
    for (const { body, kid, sig, messageId } of messages) {
      const options = {
        persistent: true,
        mandatory: true,
        messageId,
        contentType: ENVELOPE_TYPE,
        headers: { kid, sig },
      };
      unconfirmed += 1;
      out.publish(exchange, key, Buffer.from(body), options, () => {
        unconfirmed -= 1;
        wake();
      });
      if (unconfirmed < WINDOW) continue;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    await Promise.all([out.waitForConfirms(), all]);
  });
  await publishing.close();
  await consuming.close();
  return run;
}
