/** What the suites about the bus and its real broker share: clients, messages, a handler that keeps what it saw. */
import { randomUUID } from "node:crypto";
import { isFabricError } from "@linkspan/envelopes";
import {
  ACK,
  AmqpBus,
  type AmqpBusConfig,
  type Delivery,
  type Outgoing,
  type QueueSpec,
  type Verdict,
} from "@linkspan/fabric";
import { connect } from "amqplib";
import { onTestFinished } from "vitest";
import type { RabbitmqServer } from "../servers/rabbitmq.ts";

export const QUEUE: QueueSpec = { name: "irc.work.p00", kind: "partition", bindings: [{ service: "irc" }] };
export const ROUTE = { service: "irc", instance: "primary", action: "inbound_event", partition: 0 };

export function message(id: string, rest: Partial<Outgoing> = {}): Outgoing {
  return { route: ROUTE, body: Buffer.from(`body of ${id}`), messageId: id, ...rest };
}

export async function namespace(server: RabbitmqServer): Promise<string> {
  const vhost = randomUUID();
  await server.vhost(vhost);
  return vhost;
}

/** Disposed with the test. */
export async function client(
  server: Pick<RabbitmqServer, "url">,
  vhost: string,
  rest: Partial<AmqpBusConfig> = {},
): Promise<AmqpBus> {
  const bus = await AmqpBus.connect({
    url: server.url,
    vhost,
    service: "irc",
    bootId: randomUUID(),
    ownsTopology: true,
    heartbeatSeconds: 1,
    connectTimeoutMs: 2_000,
    reconnect: { minMs: 50, maxMs: 500 },
    topologyCheckMs: 1_000,
    ...rest,
  });
  onTestFinished(() => bus[Symbol.asyncDispose]());
  return bus;
}

/** A channel without the bus, as any other program would have it. */
export async function rawChannel(url: string) {
  const connection = await connect(url);
  connection.on("error", () => undefined);
  const channel = await connection.createConfirmChannel();
  channel.on("error", () => undefined);
  return { channel, [Symbol.asyncDispose]: () => connection.close().catch(() => undefined) };
}

export function collecting(seen: string[], decide: (delivery: Delivery) => Verdict | void = () => ACK) {
  return {
    async handle(batch: readonly { readonly delivery: Delivery }[]): Promise<Verdict[]> {
      seen.push(...batch.map(({ delivery }) => delivery.messageId ?? ""));
      return batch.map(({ delivery }) => decide(delivery) ?? ACK);
    },
  };
}

export function outcome(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "confirmed",
    (error: unknown) => (isFabricError(error) ? error.code : String(error)),
  );
}
