/** How messages look on AMQP: routing keys, properties and headers, both ways. */
import {
  type ErrorCode,
  FabricError,
  isErrorCode,
  parseRoutingKey,
  type Route,
  routingKey,
} from "@linkspan/envelopes";
import type { Message, Options } from "amqplib";
import type { Binding, Death, Outgoing } from "../bus.ts";
import type { MutableDelivery } from "../intake/item.ts";
import { isReplyAddress } from "../peer.ts";

export const EXCHANGE = "bridge";
export const CONTENT_TYPE = "application/vnd.msgr.bridge.v1+json";
/** Dead letters keep the key they came with in a header. */
export const DEAD_KEY = "bridge.dead";

const HEADER = {
  kid: "kid",
  sig: "sig",
  traceparent: "traceparent",
  deathCode: "death-code",
  deathDetail: "death-detail",
  deathQueue: "death-queue",
  deathRoute: "death-route",
} as const;

/** The route of a dead letter whose key was no route; the key is in the death's detail. */
const NO_ROUTE: Route = { service: "unknown", instance: "primary", action: "unknown", partition: 0 };

/** A message in amqplib's form. */
export interface Encoded {
  readonly key: string;
  /** What it shares with the messages that it must stay in order with. */
  readonly destination: string;
  readonly content: Buffer;
  readonly options: Options.Publish;
}

type Address = Pick<Encoded, "key" | "destination">;

export class Wire {
  readonly #userId: string | undefined;
  readonly #keys = new Map<string, Address>();
  readonly #routes = new Map<string, Route>();

  constructor(userId: string | undefined) {
    this.#userId = userId;
  }

  /** @throws FabricError `topic.malformed` */
  encode(message: Outgoing): Encoded {
    const options = this.#properties(message, message.mandatory !== false);
    const { key, destination } = this.#address(message.route);
    return { key, destination, content: bufferOf(message.body), options };
  }

  /** An answer goes to one process; its route travels as the type, since the key is the address. */
  encodeReply(to: string, message: Outgoing): Encoded {
    const options = this.#properties(message, false);
    options.type = this.keyOf(message.route);
    return { key: to, destination: "reply", content: bufferOf(message.body), options };
  }

  /** @param key the routing key that it arrived with, whatever it is */
  encodeDead(delivery: MutableDelivery, key: string, death: Death): Encoded {
    const options = this.#properties({ ...present(delivery), messageId: delivery.messageId ?? "" }, true);
    Object.assign(options.headers as Record<string, string>, {
      [HEADER.deathCode]: death.code,
      [HEADER.deathDetail]: death.detail.slice(0, 1_000),
      [HEADER.deathQueue]: death.queue,
      [HEADER.deathRoute]: key,
    });
    return { key: DEAD_KEY, destination: DEAD_KEY, content: bufferOf(delivery.body), options };
  }

  /** @throws FabricError `topic.malformed` */
  decode(message: Message): MutableDelivery {
    return deliveryOf(message, this.#routeOf(message.fields.routingKey), undefined);
  }

  decodeReply(message: Message): MutableDelivery {
    return deliveryOf(message, this.#routeOr(text(message.properties.type) ?? ""), undefined);
  }

  /** Death headers count on the dead-letter queue only; anybody can write them elsewhere. */
  decodeDead(message: Message): MutableDelivery {
    const headers: Record<string, unknown> = message.properties.headers ?? {};
    const code = text(headers[HEADER.deathCode]) ?? "";
    const death = {
      code: isErrorCode(code) ? code : ("bus.rejected" satisfies ErrorCode),
      detail: text(headers[HEADER.deathDetail]) ?? "",
      queue: text(headers[HEADER.deathQueue]) ?? "",
    };
    return deliveryOf(message, this.#routeOr(text(headers[HEADER.deathRoute]) ?? ""), death);
  }

  /** For what cannot be decoded and goes to the dead letters as it is. */
  decodeUnrouted(message: Message): MutableDelivery {
    return deliveryOf(message, NO_ROUTE, undefined);
  }

  #properties(message: Omit<Outgoing, "route" | "body">, mandatory: boolean): Options.Publish {
    const headers: Record<string, string> = {};
    if (message.kid !== undefined) headers[HEADER.kid] = message.kid;
    if (message.sig !== undefined) headers[HEADER.sig] = message.sig;
    if (message.traceparent !== undefined) headers[HEADER.traceparent] = message.traceparent;
    const options: Options.Publish = {
      persistent: true,
      mandatory,
      contentType: CONTENT_TYPE,
      messageId: message.messageId,
      headers,
    };
    if (message.inReplyTo !== undefined) options.correlationId = message.inReplyTo;
    if (message.replyTo !== undefined) options.replyTo = message.replyTo;
    if (message.ttlMs !== undefined) options.expiration = Math.max(0, Math.ceil(message.ttlMs));
    if (this.#userId !== undefined) options.userId = this.#userId;
    return options;
  }

  /** @throws FabricError `topic.malformed` */
  keyOf(route: Route): string {
    return this.#address(route).key;
  }

  /** Checking a route costs more than sending it; a namespace has few. */
  #address(route: Route): Address {
    const { service, instance, action, partition } = route;
    const name = `${service}.${instance}.${action}.${partition}`;
    let address = this.#keys.get(name);
    if (address === undefined) {
      address = { key: routingKey(route), destination: `${service}.${instance}.${partition}` };
      if (this.#keys.size >= 10_000) this.#keys.clear();
      this.#keys.set(name, address);
    }
    return address;
  }

  #routeOf(key: string): Route {
    let route = this.#routes.get(key);
    if (route === undefined) {
      route = Object.freeze(parseRoutingKey(key));
      if (this.#routes.size >= 10_000) this.#routes.clear();
      this.#routes.set(key, route);
    }
    return route;
  }

  #routeOr(key: string): Route {
    try {
      return this.#routeOf(key);
    } catch (error) {
      if (error instanceof FabricError) return NO_ROUTE;
      throw error;
    }
  }
}

/** The topic pattern of a binding: four words, `*` for what it leaves open. */
export function bindingKey({ service, instance, action, partition }: Binding): string {
  const shard = instance === "primary" ? "_" : (instance ?? "*");
  const place = partition === undefined ? "*" : `p${String(partition).padStart(2, "0")}`;
  return `${service ?? "*"}.${shard}.${action ?? "*"}.${place}`;
}

function deliveryOf(
  { content, fields, properties }: Message,
  route: Route,
  death: Death | undefined,
): MutableDelivery {
  const headers: Record<string, unknown> = properties.headers ?? {};
  const replyTo = text(properties.replyTo);
  return {
    route,
    body: content,
    kid: text(headers[HEADER.kid]),
    sig: text(headers[HEADER.sig]),
    messageId: text(properties.messageId),
    inReplyTo: text(properties.correlationId),
    replyTo: replyTo !== undefined && isReplyAddress(replyTo) ? replyTo : undefined,
    traceparent: text(headers[HEADER.traceparent]),
    redelivered: fields.redelivered,
    attempt: 0,
    death,
  };
}

function present(delivery: MutableDelivery): Partial<Outgoing> {
  const { kid, sig, inReplyTo, replyTo, traceparent } = delivery;
  return {
    ...(kid === undefined ? {} : { kid }),
    ...(sig === undefined ? {} : { sig }),
    ...(inReplyTo === undefined ? {} : { inReplyTo }),
    ...(replyTo === undefined ? {} : { replyTo }),
    ...(traceparent === undefined ? {} : { traceparent }),
  };
}

/** Headers come from the wire: only text of a sane length counts. */
function text(value: unknown): string | undefined {
  return typeof value === "string" && value.length <= 4_096 ? value : undefined;
}

function bufferOf(body: Uint8Array): Buffer {
  return Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
}
