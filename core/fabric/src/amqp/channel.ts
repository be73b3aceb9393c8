/** Opens and closes channels with a time limit on every step; a step that fails leaves nothing behind. */
import { FabricError } from "@linkspan/envelopes";
import type { Channel, ChannelModel, ConfirmChannel } from "amqplib";
import { type Clock, within } from "../clock.ts";

/** A quorum queue without a leader does not answer at all; a starting broker answers slowly. */
export const CALL_MS = 10_000;
/** A peer that does not answer a close must not delay us. */
const CLOSE_MS = 3_000;

/** @throws FabricError `bus.timeout`; or what amqplib throws. One that opens too late is closed. */
export function openChannel(connection: ChannelModel, clock: Clock): Promise<Channel> {
  return opened(connection.createChannel(), clock);
}

/** @throws as `openChannel` */
export function openConfirmChannel(connection: ChannelModel, clock: Clock): Promise<ConfirmChannel> {
  return opened(connection.createConfirmChannel(), clock);
}

async function opened<C extends Channel>(opening: Promise<C>, clock: Clock): Promise<C> {
  try {
    return await within(clock, CALL_MS, "opening a channel", opening);
  } catch (error) {
    opening.then(
      (late) => closeChannel(late, clock),
      () => undefined,
    );
    throw error;
  }
}

/** Closing a closed channel throws, which is ignored. */
export async function closeChannel(channel: Channel, clock: Clock): Promise<void> {
  const closing = Promise.resolve().then(() => channel.close());
  await within(clock, CLOSE_MS, "closing", closing).catch(() => undefined);
}

/** A channel of its own: a refused operation closes its channel, and nobody else's. */
export async function onChannel<T>(
  connection: ChannelModel,
  clock: Clock,
  work: (channel: Channel) => Promise<T>,
): Promise<T> {
  const channel = await openChannel(connection, clock);
  let fault: unknown;
  channel.on("error", (error) => {
    fault = error;
  });
  try {
    return await work(channel);
  } catch (error) {
    throw error instanceof FabricError ? error : (fault ?? error);
  } finally {
    if (fault === undefined) await closeChannel(channel, clock);
  }
}

/** The AMQP reply code of an error from amqplib. */
export function codeOf(error: unknown): number | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "number" ? error.code : undefined;
}
