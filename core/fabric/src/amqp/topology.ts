/** What is declared on the broker. Every queue that must not lose is a quorum queue. */
import { FabricError } from "@linkspan/envelopes";
import type { Channel, ChannelModel } from "amqplib";
import { DEAD_LETTERS, type QueueSpec } from "../bus.ts";
import type { ReplayBuffer } from "./config.ts";
import { bindingKey, DEAD_KEY, EXCHANGE } from "./wire.ts";

export const REPLAY_QUEUE = "bridge.replay";

/**
 * Declares the exchange, the dead letters and these queues; repeating it changes nothing.
 *
 * The replay stream is bound like the declared queues and not to everything: a message that only the
 * stream takes must still come back as unroutable.
 *
 * @throws FabricError `bus.unavailable`: a queue exists with other arguments; or what amqplib throws
 */
export async function declareTopology(
  connection: ChannelModel,
  queues: readonly QueueSpec[],
  replay: ReplayBuffer | undefined,
): Promise<void> {
  const args = quorumArguments(connection);
  await onChannel(connection, async (channel) => {
    await channel.assertExchange(EXCHANGE, "topic", { durable: true });
    await assertQueue(channel, DEAD_LETTERS.name, args);
    await channel.bindQueue(DEAD_LETTERS.name, EXCHANGE, DEAD_KEY);
    if (replay !== undefined) await assertQueue(channel, REPLAY_QUEUE, streamArguments(replay));
    for (const { name, kind, bindings } of queues) {
      if (kind === "transient" || name === DEAD_LETTERS.name) continue;
      await assertQueue(
        channel,
        name,
        kind === "partition" ? { ...args, "x-single-active-consumer": true } : args,
      );
      for (const key of new Set(bindings.map(bindingKey))) {
        await channel.bindQueue(name, EXCHANGE, key);
        if (replay !== undefined) await channel.bindQueue(REPLAY_QUEUE, EXCHANGE, key);
      }
    }
  });
}

/** A queue that dies with its connection. */
export async function declareTransient(
  channel: Channel,
  name: string,
  keys: readonly string[],
): Promise<void> {
  await channel.assertQueue(name, { exclusive: true, durable: false, autoDelete: true });
  for (const key of new Set(keys)) await channel.bindQueue(name, EXCHANGE, key);
}

/** A channel of its own: a refused operation closes its channel, and nobody else's. */
export async function onChannel<T>(
  connection: ChannelModel,
  work: (channel: Channel) => Promise<T>,
): Promise<T> {
  const channel = await connection.createChannel();
  let fault: unknown;
  channel.on("error", (error) => {
    fault = error;
  });
  try {
    const result = await work(channel);
    await channel.close();
    return result;
  } catch (error) {
    throw error instanceof FabricError ? error : (fault ?? error);
  }
}

/** RabbitMQ 4 would drop a message after 20 deliveries, innocent neighbours of a poisonous one included. */
function quorumArguments({ connection }: ChannelModel): Record<string, unknown> {
  const major = Number.parseInt(connection.serverProperties.version, 10);
  return { "x-queue-type": "quorum", ...(major >= 4 ? { "x-delivery-limit": -1 } : {}) };
}

function streamArguments({ maxBytes, maxAgeSeconds }: ReplayBuffer): Record<string, unknown> {
  return {
    "x-queue-type": "stream",
    "x-max-length-bytes": maxBytes,
    "x-max-age": `${maxAgeSeconds}s`,
    "x-stream-max-segment-size-bytes": Math.min(500_000_000, Math.max(1_000_000, Math.ceil(maxBytes / 10))),
  };
}

async function assertQueue(channel: Channel, name: string, args: Record<string, unknown>): Promise<void> {
  try {
    await channel.assertQueue(name, { durable: true, arguments: args });
  } catch (cause) {
    if (codeOf(cause) !== 406) throw cause;
    throw new FabricError(
      "bus.unavailable",
      `queue ${name} exists with other arguments than ${JSON.stringify(args)}: delete it or move its messages`,
      { cause },
    );
  }
}

/** The AMQP reply code of an error from amqplib. */
export function codeOf(error: unknown): number | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "number" ? error.code : undefined;
}
