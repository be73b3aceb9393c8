/** Steps 8 and 9 of the contract's order: where it arrived, who may send it, and when. */
import { type ActionDef, isEvent } from "../names/actions.ts";
import { isReply } from "./check.ts";
import { type Envelope, NAMESPACE_WORKSPACE } from "./envelope.ts";
import { FabricError } from "../errors/errors.ts";
import type { KeyRecord } from "../proofs/keys.ts";
import { isChannelOf } from "../names/refs.ts";
import { isReserved, orderingKey, partitionOf, type Route, type Topic } from "../names/topics.ts";

const MAX_AGE_MS = 86_400_000;
const MAX_AHEAD_MS = 300_000;

/** @throws FabricError `envelope.misrouted` */
export function checkTopic(envelope: Envelope, topic: Topic): void {
  const { metadata } = envelope;
  const there =
    topic.service === envelope.service &&
    topic.action === envelope.action &&
    (topic.replyTo === undefined
      ? topic.instance === metadata.instance
      : topic.replyTo === envelope.trace_id);
  if (!there) throw misrouted("topic");
}

/** @throws FabricError `envelope.misrouted` */
export function checkRoute(envelope: Envelope, route: Route, partitions: number): void {
  const there =
    route.service === envelope.service &&
    route.action === envelope.action &&
    route.instance === envelope.metadata.instance &&
    route.partition === partitionOf(orderingKey(envelope), partitions);
  if (!there) throw misrouted("routing key");
}

/**
 * The key covers issuer, service and workspace. The fabric's own services and namespace-level envelopes
 * are open to every key: a daemon must be able to send `hello`.
 *
 * @throws FabricError `envelope.wrong_issuer`
 */
export function checkKeyScope({ service, metadata }: Envelope, key: KeyRecord): void {
  const { issuer, workspace_id } = metadata;
  if (!key.issuers.includes(issuer)) throw wrong("the key may not sign for this issuer");
  if (!isReserved(service) && !covers(key.services, service))
    throw wrong("the key does not cover this service");
  if (workspace_id !== NAMESPACE_WORKSPACE && !covers(key.workspaces, workspace_id)) {
    throw wrong("the key does not cover this workspace");
  }
}

/**
 * A daemon sends for its own instance only; envelopes to daemons come from the core.
 *
 * @throws FabricError `envelope.wrong_issuer`
 */
export function checkIssuer(envelope: Envelope, action: ActionDef): void {
  if (!mayIssue(envelope, action)) throw wrong(`this issuer may not send ${action.name}`);
}

function mayIssue(envelope: Envelope, action: ActionDef): boolean {
  const { issuer, instance } = envelope.metadata;
  const own = isDaemon(issuer, envelope.service, instance);
  switch (action.direction) {
    case "to_core":
      return own;
    case "to_daemon":
      return isReply(action, envelope) ? own : issuer === "core";
    case "request":
      return isReply(action, envelope) ? own : issuer === "core" || (action.unasked && own);
    case "core":
      return action.reply === undefined || isReply(action, envelope) ? issuer === "core" : true;
  }
}

/**
 * A conversation belongs to the envelope's own workspace and service.
 *
 * @throws FabricError `envelope.schema`
 */
export function checkConversation({ service, metadata }: Envelope): void {
  const { conversation, workspace_id } = metadata;
  if (conversation === undefined) return;
  if (!isChannelOf(conversation, workspace_id, isReserved(service) ? undefined : service)) {
    throw new FabricError("envelope.schema", "metadata.conversation: of another workspace or service");
  }
}

/**
 * Events and history are never refused for time: a peer's clock must not deafen an account.
 *
 * @throws FabricError `envelope.expired`, `envelope.from_future`
 */
export function checkClock(envelope: Envelope, action: ActionDef, nowMs: number): void {
  if (isEvent(action)) return;
  const occurredMs = Date.parse(envelope.occurred_at);
  if (nowMs - occurredMs > MAX_AGE_MS) throw new FabricError("envelope.expired", "older than 24 hours");
  if (occurredMs - nowMs > MAX_AHEAD_MS) {
    throw new FabricError("envelope.from_future", "dated more than five minutes ahead");
  }
  const { expires_at } = envelope.metadata;
  if (expires_at !== undefined && Date.parse(expires_at) <= nowMs) {
    throw new FabricError("envelope.expired", "past its expiry");
  }
}

/** `issuer === "daemon:<service>:<instance>"`, without building that text for each envelope. */
function isDaemon(issuer: string, service: string, instance: string): boolean {
  const colon = 7 + service.length;
  return (
    issuer.length === colon + 1 + instance.length &&
    issuer.startsWith("daemon:") &&
    issuer.startsWith(service, 7) &&
    issuer[colon] === ":" &&
    issuer.endsWith(instance)
  );
}

function covers(list: readonly string[], name: string): boolean {
  return list.includes(name) || list.includes("*");
}

function misrouted(what: string): FabricError {
  return new FabricError("envelope.misrouted", `its ${what} is not the one that the signed envelope implies`);
}

function wrong(why: string): FabricError {
  return new FabricError("envelope.wrong_issuer", why);
}
