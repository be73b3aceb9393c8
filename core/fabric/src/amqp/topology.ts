/**
 * Declarations on the broker. Every queue that must not lose is a quorum queue.
 *
 * The owner of a namespace's topology, which is the core, declares the exchange and the dead letters; everybody
 * else only makes sure that they are there, and needs no right to change them.
 */
import { FabricError } from "@linkspan/envelopes";
import type { Channel, ChannelModel } from "amqplib";
import { DEAD_LETTERS, type QueueSpec } from "../bus.ts";
import { type Clock, within } from "../clock.ts";
import { CALL_MS, codeOf, onChannel } from "./channel.ts";
import type { ReplayBuffer } from "./config.ts";
import { bindingKey, DEAD_LETTER_KEYS, EXCHANGE } from "./wire.ts";

export const REPLAY_QUEUE = "bridge.replay";

export interface Topology {
  readonly queues: readonly QueueSpec[];
  readonly replay: ReplayBuffer | undefined;
  /** Whether the exchange and the dead letters are declared too, or must be there. */
  readonly isOwner: boolean;
}

/**
 * Declares these queues and what they need; repeating it changes nothing.
 *
 * The replay stream is bound like the declared queues and not to everything: a message that only the
 * stream takes must still come back as unroutable.
 *
 * @throws FabricError `bus.unavailable`: a queue exists with other arguments, or the owner has not declared yet;
 *   `bus.timeout`; or what amqplib throws
 */
export async function declareTopology(
  connection: ChannelModel,
  clock: Clock,
  { queues, replay, isOwner }: Topology,
): Promise<void> {
  const args = quorumArguments(connection);
  await onChannel(connection, clock, async (channel) => {
    const declaring = new Declaring(channel, clock);
    if (isOwner) await declaring.shared(args);
    else await declaring.sharedExists();
    if (replay !== undefined) await declaring.queue(REPLAY_QUEUE, streamArguments(replay));
    for (const { name, kind, bindings } of queues) {
      if (kind === "transient" || name === DEAD_LETTERS.name) continue;
      const single = kind === "partition" ? { "x-single-active-consumer": true } : {};
      await declaring.queue(name, { ...args, ...single });
      for (const key of new Set(bindings.map(bindingKey))) {
        await declaring.binding(name, key);
        if (replay !== undefined) await declaring.binding(REPLAY_QUEUE, key);
      }
    }
  });
}

/** A queue that dies with its connection. */
export async function declareTransient(
  channel: Channel,
  clock: Clock,
  name: string,
  keys: readonly string[],
): Promise<void> {
  const declaring = new Declaring(channel, clock);
  await declaring.call(`declaring ${name}`, channel.assertQueue(name, TRANSIENT));
  for (const key of new Set(keys)) await declaring.binding(name, key);
}

const TRANSIENT = { exclusive: true, durable: false, autoDelete: true };

/** Binds again what may have lost its binding with the exchange. */
export async function bindTransient(
  channel: Channel,
  clock: Clock,
  name: string,
  keys: readonly string[],
): Promise<void> {
  const declaring = new Declaring(channel, clock);
  for (const key of new Set(keys)) await declaring.binding(name, key);
}

/** One call after the other, each with an end in time. */
class Declaring {
  readonly #channel: Channel;
  readonly #clock: Clock;

  constructor(channel: Channel, clock: Clock) {
    this.#channel = channel;
    this.#clock = clock;
  }

  call<T>(what: string, work: PromiseLike<T>): Promise<T> {
    return within(this.#clock, CALL_MS, what, Promise.resolve(work));
  }

  async shared(args: Record<string, unknown>): Promise<void> {
    const channel = this.#channel;
    await this.call("declaring", channel.assertExchange(EXCHANGE, "topic", { durable: true }));
    await this.queue(DEAD_LETTERS.name, args);
    await this.binding(DEAD_LETTERS.name, DEAD_LETTER_KEYS);
    // Before, one key was everybody's; who had it could write dead letters in another's name.
    await this.call("unbinding", channel.unbindQueue(DEAD_LETTERS.name, EXCHANGE, "bridge.dead"));
  }

  async sharedExists(): Promise<void> {
    try {
      await this.call("looking for the exchange", this.#channel.checkExchange(EXCHANGE));
    } catch (cause) {
      if (codeOf(cause) !== 404) throw cause;
      throw new FabricError("bus.unavailable", "the core has not declared this namespace yet", { cause });
    }
  }

  async queue(name: string, args: Record<string, unknown>): Promise<void> {
    try {
      await this.call(
        `declaring ${name}`,
        this.#channel.assertQueue(name, { durable: true, arguments: args }),
      );
    } catch (cause) {
      if (codeOf(cause) !== 406) throw cause;
      throw new FabricError(
        "bus.unavailable",
        `queue ${name} exists with other arguments than ${JSON.stringify(args)}: delete it or move its messages`,
        { cause },
      );
    }
  }

  async binding(name: string, key: string): Promise<void> {
    await this.call(`binding ${name}`, this.#channel.bindQueue(name, EXCHANGE, key));
  }
}

/** RabbitMQ 4 would drop a message after 20 deliveries, other messages of a batch that one message makes fail included. */
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
