/** An unsigned daemon as Msgr's Python SDK makes one: its own spelling of JSON, no keys, no lease, no message ids. */
import { randomUUID } from "node:crypto";
import type { Envelope } from "@linkspan/envelopes";
import type { Bus, Delivery } from "@linkspan/fabric";
import { until } from "../servers/until.ts";

export interface Heard {
  readonly delivery: Delivery;
  readonly envelope: Envelope;
}

type Handler = (envelope: Envelope) => Record<string, unknown> | undefined;

export class ForeignDaemon {
  readonly service: string;
  readonly instance: string;
  readonly heard: Heard[] = [];
  /** Answers to requests, by action. */
  readonly answers = new Map<string, Handler>();
  readonly #bus: Bus;

  constructor(bus: Bus, service: string, instance = "primary") {
    this.#bus = bus;
    this.service = service;
    this.instance = instance;
  }

  /** Hears everything that is sent to its instance. */
  async listen(): Promise<this> {
    const { service, instance } = this;
    const queue = {
      name: `${service}.${instance}.all`,
      kind: "shared" as const,
      bindings: [{ service, instance }],
    };
    await this.#bus.declare([queue]);
    await this.#bus.subscribe(queue, {
      handle: async (batch) => {
        for (const { delivery } of batch) await this.#take(delivery);
        return batch.map(() => ({ do: "ack" }) as const);
      },
    });
    return this;
  }

  /** Resolves when the core has taken it in, or has refused it. */
  async say(action: string, payload: object, metadata: object = {}): Promise<void> {
    const { service, instance } = this;
    const route = { service, instance, action, partition: 0 };
    await this.#bus.publish({
      body: this.#written(action, payload, metadata),
      route,
      messageId: randomUUID(),
    });
  }

  /** The payloads of what came under an action, once there are so many. */
  async got(action: string, count = 1): Promise<Record<string, unknown>[]> {
    const of = () => this.heard.filter(({ envelope }) => envelope.action === action);
    await until(() => of().length >= count, { what: `${count} of ${action}` });
    return of().map(({ envelope }) => ({ ...envelope.payload }));
  }

  async #take(delivery: Delivery): Promise<void> {
    const envelope = JSON.parse(Buffer.from(delivery.body).toString()) as Envelope;
    // What it says itself is bound to its instance, too.
    if (delivery.kid === undefined) return;
    this.heard.push({ delivery, envelope });
    const answer = this.answers.get(envelope.action)?.(envelope);
    if (answer === undefined || delivery.replyTo === undefined) return;
    const { service, instance } = this;
    await this.#bus.reply(delivery.replyTo, {
      body: this.#written(envelope.action, answer, {}),
      route: { service, instance, action: envelope.action, partition: 0 },
      messageId: randomUUID(),
      inReplyTo: envelope.metadata.message_id,
    });
  }

  /** Members in its own order, blanks after separators, an offset for `Z`, a trace id without hyphens. */
  #written(action: string, payload: object, metadata: object): Buffer {
    const text = JSON.stringify(
      {
        schema: "msgr.bridge.v1",
        service: this.service,
        action,
        trace_id: randomUUID().replaceAll("-", ""),
        occurred_at: new Date().toISOString().replace("Z", "000+00:00"),
        metadata,
        payload,
      },
      null,
      1,
    );
    return Buffer.from(text.replaceAll(/\n\s*/g, " "));
  }
}
