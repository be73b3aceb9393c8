/** Identity of a message (contract section 5): the idempotency key and what counts as its content. */
import { hash } from "node:crypto";
import { canonicalText } from "../codec/canonical.ts";
import type { Envelope } from "../codec/envelope.ts";
import { FabricError } from "../errors/errors.ts";

/** Base64url SHA-256 of the canonical form of an identity array; 43 characters. */
export function messageId(identity: readonly (string | number)[]): string {
  return hash("sha256", canonicalText(identity), "base64url");
}

/**
 * UUIDv8 of the digest's first 16 bytes, with version and variant bits set.
 *
 * @throws FabricError `envelope.schema` when `messageId` is no message id
 */
export function traceIdOf(messageId: string): string {
  const bytes = Buffer.from(messageId, "base64url");
  if (bytes.length !== 32) throw new FabricError("envelope.schema", "not a message id");
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  const hex = bytes.toString("hex", 0, 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export interface EventIdentity {
  readonly workspace: string;
  readonly service: string;
  /** Instance at which the account was first linked; never changes. */
  readonly home: string;
  readonly account: string;
  readonly kind: string;
  readonly remoteId: string;
  /** "0", or the edit's own platform version. */
  readonly revision: string;
}

/** The action is always `inbound_event`, so that live events, history and Msgr's aliases coincide. */
export function eventId(event: EventIdentity): string {
  const { workspace, service, home, account, kind, remoteId, revision } = event;
  return messageId(["event", workspace, service, home, account, "inbound_event", kind, remoteId, revision]);
}

export function intentId(workspace: string, idempotencyKey: string): string {
  return messageId(["intent", workspace, idempotencyKey]);
}

/** Id of a reply, ack or status. `outcome` is its status word; `attempt` 1 for the first. */
export function answerId(action: string, inReplyTo: string, outcome: string, attempt: number): string {
  return messageId(["answer", action, inReplyTo, outcome, attempt]);
}

/** Id of a request, state, health, throttle or progress; `nonce` is drawn once per message. */
export function noteId(issuer: string, action: string, nonce: string): string {
  return messageId(["note", issuer, action, nonce]);
}

const EVENT_CONTENT = [
  "kind",
  "remote_id",
  "revision",
  "text",
  "entities",
  "reply_to",
  "thread",
  "target",
] as const;

/**
 * SHA-256 of what must be equal in two messages with one id. Cursors, URLs, `native`, times, the sender's
 * name and tickets may differ when the same thing is read again.
 *
 * @param envelope an event already mapped to the canonical `inbound_event`, an intent, or anything else
 */
export function contentHash(envelope: Envelope): Uint8Array {
  return hash("sha256", canonicalText(contentOf(envelope)), "buffer");
}

function contentOf(envelope: Envelope): unknown {
  const { payload, metadata, action } = envelope;
  if (action === "inbound_event") return eventContent(payload, metadata.conversation);
  if (metadata.identity_id === undefined || metadata.in_reply_to !== undefined) return payload;
  return present({
    action,
    payload,
    conversation: metadata.conversation,
    identity: metadata.identity_id,
    user: metadata.user_id,
  });
}

function eventContent(payload: Envelope["payload"], conversation: string | undefined): unknown {
  const content: Record<string, unknown> = { conversation, sender: memberOf(payload.sender, "ref") };
  for (const name of EVENT_CONTENT) content[name] = payload[name];
  if (Array.isArray(payload.media)) {
    content.media = payload.media.map(
      (item: unknown) => memberOf(item, "sha256") ?? memberOf(item, "name") ?? null,
    );
  }
  return present(content);
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

/** A copy: an object that members are deleted from is slow to read. */
function present(members: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const kept: Record<string, unknown> = {};
  for (const name of Object.keys(members)) if (members[name] !== undefined) kept[name] = members[name];
  return kept;
}
