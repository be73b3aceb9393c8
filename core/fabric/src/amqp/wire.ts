/** How messages look on AMQP: routing keys, properties and headers, both ways. */
import {
  FabricError,
  isErrorCode,
  isReserved,
  parseRoutingKey,
  PRIMARY,
  type Route,
  routingKey,
} from "@linkspan/envelopes";
import type { Message, Options } from "amqplib";
import type { Binding, Death, Outgoing } from "../bus.ts";
import {
  asCorrelationId,
  asId,
  asPlainText,
  asReplyAddress,
  asSignature,
  asTraceparent,
  checkOutgoing,
  correlationOf,
  MAX_BODY_BYTES,
} from "../headers.ts";
import type { MutableDelivery } from "../intake/item.ts";

export const EXCHANGE = "bridge";
export const CONTENT_TYPE = "application/vnd.msgr.bridge.v1+json";
/**
 * Dead letters keep the key they came with in a header. Their own key names the reporter, the process that gave
 * the message up, and the broker lets a daemon write its own name only: what a dead letter says is no more than
 * what that process may say.
 */
export const DEAD_LETTER_KEYS = "bridge.dead.*.*";
const DEAD_LETTER_KEY = /^bridge\.dead\.([a-z][a-z0-9_]{0,31})\.(_|[a-z0-9][a-z0-9_-]{0,62})$/;

/** `bridge.dead.<service>.<instance|_>` */
export function deadLetterKey(service: string, instance: string = PRIMARY): string {
  return `bridge.dead.${service}.${instance === PRIMARY ? "_" : instance}`;
}

const HEADER = {
  kid: "kid",
  sig: "sig",
  traceparent: "traceparent",
  /** Beside `correlation_id`, where a message has both. */
  inReplyTo: "in-reply-to",
  /** Of an answer, whose own key is the address that it goes to. */
  route: "route",
  deathCode: "death-code",
  deathDetail: "death-detail",
  deathQueue: "death-queue",
  deathRoute: "death-route",
} as const;

const MAX_DETAIL = 1_000;
const MAX_NAME = 255;

/** The route of a dead letter whose key was no route; the key is in the death's detail. */
const NO_ROUTE: Route = { service: "unknown", instance: "primary", action: "unknown", partition: 0 };

/** A message in amqplib's form. */
export interface Encoded {
  readonly key: string;
  /** The same for all messages that must stay in order with it. */
  readonly destination: string;
  readonly content: Buffer;
  readonly options: Options.Publish;
}

type Address = Pick<Encoded, "key" | "destination">;

export class Wire {
  readonly #userId: string | undefined;
  readonly #appId: string;
  readonly #nowMs: () => number;
  readonly #deadLetterKey: string;
  readonly #keys = new Map<string, Address>();
  readonly #routes = new Map<string, Route>();

  constructor(
    peer: { readonly service: string; readonly instance?: string; readonly userId?: string },
    nowMs: () => number = Date.now,
  ) {
    this.#userId = peer.userId;
    this.#appId = issuerOf(peer);
    this.#nowMs = nowMs;
    this.#deadLetterKey = deadLetterKey(peer.service, peer.instance);
  }

  /** @throws FabricError `topic.malformed`, `envelope.too_large`, `envelope.schema` */
  encode(message: Outgoing): Encoded {
    checkOutgoing(message);
    const options = this.#properties(message, message.route.action, message.mandatory !== false);
    const { key, destination } = this.#address(message.route);
    return { key, destination, content: bufferOf(message.body), options };
  }

  /** An answer goes to one process; its route travels in a header, since the key is the address. */
  encodeReply(to: string, message: Outgoing): Encoded {
    checkOutgoing(message);
    const options = this.#properties(message, message.route.action, false);
    (options.headers as Record<string, string>)[HEADER.route] = this.keyOf(message.route);
    return { key: to, destination: "reply", content: bufferOf(message.body), options };
  }

  /** @param key the routing key that it arrived with, whatever it is */
  encodeDead(delivery: MutableDelivery, key: string, death: Death): Encoded {
    const message = { ...present(delivery), messageId: delivery.messageId ?? "" };
    const options = this.#properties(message, delivery.route.action, true);
    Object.assign(options.headers as Record<string, string>, {
      [HEADER.deathCode]: death.code,
      [HEADER.deathDetail]: asPlainText(death.detail, MAX_DETAIL),
      [HEADER.deathQueue]: asPlainText(death.queue, MAX_NAME),
      [HEADER.deathRoute]: asPlainText(key, MAX_NAME),
    });
    // Larger than any envelope, it can be nothing that is ever retried; its beginning shows what it was.
    const content = bufferOf(delivery.body).subarray(0, MAX_BODY_BYTES);
    return { key: this.#deadLetterKey, destination: "dead letters", content, options };
  }

  /** @throws FabricError `topic.malformed` */
  decode(message: Message): MutableDelivery {
    return deliveryOf(message, this.#routeOf(message.fields.routingKey), undefined);
  }

  decodeReply(message: Message): MutableDelivery {
    const delivery = deliveryOf(message, this.#replyRoute(message), undefined);
    // Who answers in another way than this program only repeats the correlation id.
    delivery.inReplyTo ??= asId(delivery.correlationId);
    return delivery;
  }

  /**
   * Death headers count on the dead-letter queue only, and there only as what their reporter may say: a daemon
   * speaks for its own service, and what came by any other way than a reporter's key speaks for nobody.
   */
  decodeDead(message: Message): MutableDelivery {
    const headers = headersOf(message);
    const code = asPlainText(headers[HEADER.deathCode], MAX_NAME);
    const detail = asPlainText(headers[HEADER.deathDetail], MAX_DETAIL);
    const queue = asPlainText(headers[HEADER.deathQueue], MAX_NAME);
    const route = this.#routeOr(asPlainText(headers[HEADER.deathRoute], MAX_NAME));
    const reporter = reporterOf(message);
    if (
      reporter !== undefined &&
      (isReserved(reporter) || reporter === route.service || route === NO_ROUTE)
    ) {
      const known = isErrorCode(code) ? code : "bus.rejected";
      return deliveryOf(message, route, { code: known, detail, queue });
    }
    const who = reporter ?? `a publisher with the key ${asPlainText(message.fields.routingKey, MAX_NAME)}`;
    const claim = `${who} says of a message of ${route.service}: ${code} ${detail}`.slice(0, MAX_DETAIL);
    return deliveryOf(message, NO_ROUTE, { code: "envelope.misrouted", detail: claim, queue });
  }

  /** For what cannot be decoded and goes to the dead letters as it is. */
  decodeUnrouted(message: Message): MutableDelivery {
    return deliveryOf(message, NO_ROUTE, undefined);
  }

  #properties(message: Omit<Outgoing, "route" | "body">, type: string, mandatory: boolean): Options.Publish {
    const headers: Record<string, string> = {};
    const correlationId = correlationOf(message);
    if (message.kid !== undefined) headers[HEADER.kid] = message.kid;
    if (message.sig !== undefined) headers[HEADER.sig] = message.sig;
    if (message.traceparent !== undefined) headers[HEADER.traceparent] = message.traceparent;
    const options: Options.Publish = {
      persistent: true,
      mandatory,
      contentType: CONTENT_TYPE,
      type,
      appId: this.#appId,
      timestamp: Math.floor(this.#nowMs() / 1_000),
      headers,
    };
    if (message.messageId !== "") options.messageId = message.messageId;
    if (correlationId !== undefined) options.correlationId = correlationId;
    if (message.inReplyTo !== undefined && message.inReplyTo !== correlationId)
      headers[HEADER.inReplyTo] = message.inReplyTo;
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

  /** In the type where an older version of this program answers. */
  #replyRoute({ properties }: Message): Route {
    const key: unknown = headersOf({ properties })[HEADER.route] ?? properties.type;
    return this.#routeOr(asPlainText(key, MAX_NAME));
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
  const headers = headersOf({ properties });
  const correlationId = asCorrelationId(properties.correlationId);
  const replyTo = asReplyAddress(properties.replyTo);
  // The correlation id of a question is its own; of anything else it says what that answers.
  const answered = properties.replyTo === undefined ? asId(correlationId) : undefined;
  return {
    route,
    body: content,
    kid: asId(headers[HEADER.kid]),
    sig: asSignature(headers[HEADER.sig]),
    messageId: asId(properties.messageId),
    inReplyTo: asId(headers[HEADER.inReplyTo]) ?? answered,
    correlationId,
    replyTo,
    traceparent: asTraceparent(headers[HEADER.traceparent]),
    redelivered: fields.redelivered,
    attempt: 0,
    death,
  };
}

/** What the envelopes of this process name as their issuer. */
function issuerOf({ service, instance = PRIMARY }: { readonly service: string; readonly instance?: string }) {
  return isReserved(service) ? "core" : `daemon:${service}:${instance}`;
}

/** The client that gave a dead letter up; undefined for a message of another exchange or key. */
function reporterOf({ fields }: Message): string | undefined {
  return fields.exchange === EXCHANGE ? DEAD_LETTER_KEY.exec(fields.routingKey)?.[1] : undefined;
}

function headersOf({ properties }: Pick<Message, "properties">): Readonly<Record<string, unknown>> {
  const headers: unknown = properties.headers;
  return typeof headers === "object" && headers !== null ? (headers as Record<string, unknown>) : {};
}

function present(delivery: MutableDelivery): Partial<Outgoing> {
  const { kid, sig, inReplyTo, correlationId, replyTo, traceparent } = delivery;
  return {
    ...(kid === undefined ? {} : { kid }),
    ...(sig === undefined ? {} : { sig }),
    ...(inReplyTo === undefined ? {} : { inReplyTo }),
    ...(correlationId === undefined ? {} : { correlationId }),
    ...(replyTo === undefined ? {} : { replyTo }),
    ...(traceparent === undefined ? {} : { traceparent }),
  };
}

function bufferOf(body: Uint8Array): Buffer {
  return Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
}
