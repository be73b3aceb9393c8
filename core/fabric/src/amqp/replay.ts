/** Reads the replay stream: what the declared queues were sent, as long as the buffer keeps it. */
import { FabricError } from "@linkspan/envelopes";
import type { ChannelModel, ConsumeMessage, Message } from "amqplib";
import type { Delivery } from "../bus.ts";
import { type Clock, sleep, within } from "../clock.ts";
import { Deque } from "../deque.ts";
import { CALL_MS, closeChannel, openChannel } from "./channel.ts";
import { unavailable } from "./link.ts";
import { REPLAY_QUEUE } from "./topology.ts";
import type { Wire } from "./wire.ts";

export interface ReplayOptions {
  /** `first`: the oldest kept. A time starts at the chunk that holds it, so a little earlier. */
  readonly from: "first" | { readonly offset: number } | { readonly time: Date };
  /** Ends after so many. */
  readonly limit?: number;
  /** Ends when nothing more came for so long; default 1,000. */
  readonly idleMs?: number;
  readonly signal?: AbortSignal;
}

export interface Replayed {
  /** Of the message in the stream; strictly rising. */
  readonly offset: number;
  readonly delivery: Delivery;
}

/** Unacknowledged messages are the bound on memory. */
const PREFETCH = 100;

/** @throws FabricError `bus.unavailable`: no stream is declared, or the connection is lost meanwhile */
export async function* replayFrom(
  connection: ChannelModel,
  wire: Wire,
  clock: Clock,
  options: ReplayOptions,
): AsyncGenerator<Replayed, void> {
  const { limit = Number.POSITIVE_INFINITY, idleMs = 1_000 } = options;
  const channel = await openChannel(connection, clock);
  const arrived = new Deque<ConsumeMessage>();
  let wake = new AbortController();
  let fault: unknown;
  const end = (error: unknown): void => {
    fault ??= error ?? new Error("the channel was closed");
    wake.abort();
  };
  let closing = false;
  channel.on("error", end);
  channel.on("close", () => {
    if (!closing) end(undefined);
  });
  try {
    await channel.prefetch(PREFETCH);
    const consumer = (message: ConsumeMessage | null): void => {
      if (message === null) return end(undefined);
      arrived.push(message);
      wake.abort();
    };
    const args = { arguments: { "x-stream-offset": offsetOf(options.from) } };
    await within(clock, CALL_MS, "consuming", channel.consume(REPLAY_QUEUE, consumer, args));
    for (let count = 0; count < limit; ) {
      if (options.signal?.aborted) return;
      const message = arrived.shift();
      if (message === undefined) {
        if (fault !== undefined) throw unavailable(fault);
        wake = new AbortController();
        const either = options.signal ? AbortSignal.any([wake.signal, options.signal]) : wake.signal;
        await sleep(clock, idleMs, either);
        if (!either.aborted) return;
        continue;
      }
      channel.ack({ fields: { deliveryTag: message.fields.deliveryTag } } as Message);
      const replayed = decode(wire, message);
      if (replayed === undefined || replayed.offset < startOf(options.from)) continue;
      count++;
      yield replayed;
    }
  } catch (error) {
    throw unavailable(fault ?? error);
  } finally {
    closing = true;
    if (fault === undefined) await closeChannel(channel, clock);
  }
}

/** @returns undefined for what no queue would have handed over: an unparsable key */
function decode(wire: Wire, message: ConsumeMessage): Replayed | undefined {
  const headers: Record<string, unknown> = message.properties.headers ?? {};
  const offset = Number(headers["x-stream-offset"]);
  try {
    return { offset, delivery: { ...wire.decode(message), attempt: 1 } };
  } catch (error) {
    if (error instanceof FabricError) return undefined;
    throw error;
  }
}

function offsetOf(from: ReplayOptions["from"]): unknown {
  if (from === "first") return "first";
  if ("offset" in from) return from.offset;
  return { "!": "timestamp", value: Math.floor(from.time.getTime() / 1_000) };
}

/** The broker starts at a chunk; what is in it before the offset is skipped here. */
function startOf(from: ReplayOptions["from"]): number {
  return from !== "first" && "offset" in from ? from.offset : 0;
}
