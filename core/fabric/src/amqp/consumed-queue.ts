/** The queue that a subscription consumes: declared beforehand, or, if it is transient, made with the subscription. */
import type { Channel, ChannelModel } from "amqplib";
import type { QueueSpec } from "../bus.ts";
import type { Clock } from "../clock.ts";
import { onChannel } from "./channel.ts";
import { declareTransient } from "./topology.ts";
import { bindingKey } from "./wire.ts";

/**
 * Only a consumer's end deletes a transient queue, so one that gets none is deleted here.
 *
 * @param connection the consuming connection while it is up
 * @returns the queue's name on the broker
 */
export async function consumedQueue(
  channel: Channel,
  spec: QueueSpec,
  clock: Clock,
  connection: () => ChannelModel | undefined,
): Promise<string> {
  if (spec.kind !== "transient") return spec.name;
  const name = `${spec.name}.${crypto.randomUUID()}`;
  try {
    await declareTransient(channel, clock, name, spec.bindings.map(bindingKey));
  } catch (error) {
    const up = connection();
    if (up !== undefined) {
      await onChannel(up, clock, (other) => other.deleteQueue(name)).catch(() => undefined);
    }
    throw error;
  }
  return name;
}
