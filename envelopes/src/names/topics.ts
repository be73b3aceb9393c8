/** Topics, AMQP routing keys and partitions (contract section 1). */
import { hash } from "node:crypto";
import type { Envelope } from "../codec/envelope.ts";
import { FabricError } from "../errors/errors.ts";
import { ACTION, INSTANCE, PRIMARY, SERVICE, TRACE_ID } from "./grammar.ts";

export interface Topic {
  readonly service: string;
  /** `primary` when the topic names none. */
  readonly instance: string;
  readonly action: string;
  /** Trace id answered, on a reply topic; such a topic names no instance. */
  readonly replyTo?: string;
}

/** Where a message goes. `primary` is `_` on the wire. */
export interface Route {
  readonly service: string;
  readonly instance: string;
  readonly action: string;
  /** 0 to 99. */
  readonly partition: number;
}

/** Partitions of a namespace that declares no other count. */
export const DEFAULT_PARTITIONS = 8;

/** @throws FabricError `topic.malformed` */
export function parseTopic(text: string): Topic {
  const [root, service, ...rest] = text.split("/", 6);
  if (root !== "bridge" || service === undefined) throw malformed("it is not bridge/<service>/<action>");
  if (rest.length === 4) throw malformed("it has too many segments");
  const [a, b, c] = rest;
  if (b === "reply" && c !== undefined)
    return checked({ service, instance: PRIMARY, action: a ?? "", replyTo: c });
  if (c !== undefined || a === undefined) throw malformed("it has the wrong number of segments");
  if (b === undefined) return checked({ service, instance: PRIMARY, action: a });
  if (a === PRIMARY) throw malformed("the primary instance is written by leaving it out");
  return checked({ service, instance: a, action: b });
}

/** @throws FabricError `topic.malformed` */
export function formatTopic(topic: Topic): string {
  const { service, instance, action, replyTo } = checked(topic);
  if (replyTo !== undefined) return `bridge/${service}/${action}/reply/${replyTo}`;
  return instance === PRIMARY ? `bridge/${service}/${action}` : `bridge/${service}/${instance}/${action}`;
}

/** `<service>.<instance|_>.<action>.<pNN>`. @throws FabricError `topic.malformed` */
export function routingKey(route: Route): string {
  const { service, instance, action } = checked(route);
  if (!Number.isInteger(route.partition) || route.partition < 0 || route.partition > 99) {
    throw malformed("a partition is 0 to 99");
  }
  return `${service}.${instance === PRIMARY ? "_" : instance}.${action}.p${pad(route.partition)}`;
}

/** @throws FabricError `topic.malformed` */
export function parseRoutingKey(key: string): Route {
  const [service, instance, action, partition, more] = key.split(".", 5);
  if (service === undefined || instance === undefined || action === undefined || partition === undefined) {
    throw malformed("a routing key has four words");
  }
  if (more !== undefined || !/^p[0-9]{2}$/.test(partition))
    throw malformed("its last word is not p00 to p99");
  if (instance === PRIMARY) throw malformed("the primary instance is written _");
  const names = checked({ service, instance: instance === "_" ? PRIMARY : instance, action });
  return { ...names, partition: Number(partition.slice(1)) };
}

/** The first four bytes of SHA-256(key) modulo the count; no key is partition 0. */
export function partitionOf(key: string | undefined, partitions: number): number {
  return key === undefined ? 0 : headOfDigest(key) % partitions;
}

/** The digests of recent keys: conversations come back, and looking one up is cheaper than hashing it. */
const recent = new Map<string, number>();
const MAX_RECENT = 4_096;
const MAX_RECENT_LENGTH = 256;

function headOfDigest(key: string): number {
  const known = recent.get(key);
  if (known !== undefined) return known;
  const head = hash("sha256", key, "buffer").readUInt32BE(0);
  if (recent.size >= MAX_RECENT) recent.clear();
  if (key.length <= MAX_RECENT_LENGTH) recent.set(key, head);
  return head;
}

/** The key by which envelopes keep their order: equal keys share a partition. */
export function orderingKey(envelope: Envelope): string | undefined {
  if (isReserved(envelope.service)) return undefined;
  const { conversation, identity_id, in_reply_to } = envelope.metadata;
  if (conversation !== undefined) return conversation;
  if (identity_id !== undefined) return identity_id;
  const { account } = envelope.payload;
  return typeof account === "string" ? account : in_reply_to;
}

/** The route that a signed envelope implies; arriving on another one is `envelope.misrouted`. */
export function routeOf(envelope: Envelope, partitions: number): Route {
  return {
    service: envelope.service,
    instance: envelope.metadata.instance,
    action: envelope.action,
    partition: partitionOf(orderingKey(envelope), partitions),
  };
}

/** The fabric's own services: always partition 0. */
export function isReserved(service: string): boolean {
  return service === "core" || service === "vault";
}

function checked<T extends Omit<Topic, "replyTo"> & { readonly replyTo?: string }>(names: T): T {
  if (!SERVICE.test(names.service)) throw malformed("its service is not [a-z][a-z0-9_]{0,31}");
  if (!INSTANCE.test(names.instance)) throw malformed("its instance is not [a-z0-9][a-z0-9_-]{0,62}");
  if (!ACTION.test(names.action)) throw malformed("its action is not [a-z][a-z0-9_]{0,63}");
  if (names.replyTo !== undefined && !TRACE_ID.test(names.replyTo))
    throw malformed("its trace id is not a UUID");
  return names;
}

function pad(partition: number): string {
  return partition < 10 ? `0${partition}` : String(partition);
}

function malformed(why: string): FabricError {
  return new FabricError("topic.malformed", `not a topic: ${why}`);
}
