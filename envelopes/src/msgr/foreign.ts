/**
 * Unsigned envelopes of foreign daemons, as Msgr's SDKs write them, made into ours. Development namespaces
 * only (`signatures: "optional"`).
 *
 * - The topic decides service, instance and with them the issuer, whatever the body claims.
 * - `trace_id` may lack its hyphens, `occurred_at` may have an offset, microseconds or no zone (then UTC).
 *   What is missing is filled in: the time with now, the schema with ours.
 * - Metadata may be minimal, may hold members that are not ours, and may stand inside the payload: ours are
 *   lifted, the envelope's own first, the others dropped. Null members of a payload are dropped, unknown ones of an
 *   event kept in `native`. Whole numbers beyond 2^53 - 1 and fractions are read as their text.
 * - An event's identity is that of the canonical event that it stands for, so that the same event read twice
 *   is one. Anything else is identified by its bytes.
 *
 * The received bytes stay what is stored; this is only how they are read.
 */
import { createHash } from "node:crypto";
import { acceptsOf } from "../codec/accepts.ts";
import { actionOf } from "../names/actions.ts";
import { accountOf, toCanonicalEvent } from "../codec/canonical-event.ts";
import { NAMESPACE_WORKSPACE, SCHEMA, timestamp } from "../codec/envelope.ts";
import { FabricError } from "../errors/errors.ts";
import { PRIMARY, TRACE_ID } from "../names/grammar.ts";
import { tidied } from "./foreign-members.ts";
import { eventId, noteId, traceIdOf } from "../names/message-id.ts";
import { type Members, membersOf, optional, textOf } from "../payloads/members.ts";
import type { DecodeOptions, Received } from "../codec/received.ts";
import type { Parsed } from "../codec/strict-json.ts";
import { readInstant } from "../codec/time.ts";

/** Members of metadata that a foreign daemon may set itself. */
const LIFTED = ["workspace_id", "conversation", "user_id", "identity_id", "in_reply_to"] as const;

/**
 * @returns an envelope in our form, not yet checked against any schema
 * @throws FabricError `envelope.schema`
 */
export function liftForeign(parsed: Parsed, received: Received, options: DecodeOptions): Parsed {
  const body = objectOf(parsed.value, "the envelope");
  const { metadata: inner, ...written } = withoutNulls(objectOf(body.payload ?? {}, "payload"));
  const claimed: Members = { ...membersOf(inner), ...membersOf(body.metadata) };
  const where = received.topic ?? received.route;
  const service = where?.service ?? textOf(body.service) ?? "";
  const instance = where?.instance ?? PRIMARY;
  const issuer = `daemon:${service}:${instance}`;
  const metadata: Record<string, unknown> = {
    workspace_id: options.foreignWorkspace ?? NAMESPACE_WORKSPACE,
    ...optional("in_reply_to", options.foreignInReplyTo),
    ...Object.fromEntries(
      LIFTED.flatMap((name) => (claimed[name] == null ? [] : [[name, asText(claimed[name])]])),
    ),
    ...optional("seq", claimed.seq ?? undefined),
    instance,
    issuer,
  };
  const occurred_at = body.occurred_at == null ? timestamp(options.now) : readTime(body.occurred_at);
  const action = textOf(body.action) ?? "";
  const payload = metadata.in_reply_to === undefined ? tidied(actionOf(service, action), written) : written;
  const event = eventOf({ service, action, payload, metadata, occurred_at, instance, claimed });
  const message_id = event?.id ?? noteId(issuer, action, digest(received.body));
  const value = {
    schema: body.schema ?? SCHEMA,
    service: body.service,
    action: body.action,
    trace_id: (event === undefined ? readTraceId(body.trace_id) : undefined) ?? traceIdOf(message_id),
    occurred_at,
    metadata: { ...optional("conversation", event?.conversation), ...metadata, message_id },
    payload,
  };
  return { ...parsed, value };
}

interface Draft {
  readonly service: string;
  readonly action: string;
  readonly payload: Members;
  readonly metadata: Members;
  readonly occurred_at: unknown;
  readonly instance: string;
  readonly claimed: Members;
}

interface IdentifiedEvent {
  readonly id: string;
  readonly conversation: string | undefined;
}

/** Undefined for what is no event, and for an event that its schema is about to refuse. */
function eventOf(draft: Draft): IdentifiedEvent | undefined {
  const { service, action, payload, instance, claimed } = draft;
  const { workspace_id: workspace, conversation } = draft.metadata;
  const def = actionOf(service, action);
  if (def?.canonical !== "inbound_event" || !acceptsOf(def.payload)(payload)) return undefined;
  if (typeof workspace !== "string" || typeof draft.occurred_at !== "string") return undefined;
  const event = toCanonicalEvent(service, action, payload, {
    workspaceId: workspace,
    instance,
    account: accountOf(payload, claimed, instance),
    occurredAt: draft.occurred_at,
    conversation: typeof conversation === "string" ? conversation : undefined,
    metadata: claimed,
  });
  const { kind, remote_id: remoteId, revision, account } = event.payload;
  const id = eventId({ workspace, service, home: instance, account, kind, remoteId, revision });
  return { id, conversation: event.conversation };
}

/** Numbers become text; anything else is left for the schema to refuse. */
function asText(value: unknown): unknown {
  return textOf(value) ?? value;
}

function readTime(time: unknown): unknown {
  return readInstant(textOf(time) ?? "") ?? time;
}

/** @returns undefined when there is none: it then follows from the message id */
function readTraceId(traceId: unknown): unknown {
  if (traceId == null) return undefined;
  if (typeof traceId !== "string") return traceId;
  const lower = traceId.toLowerCase();
  const hyphenated = /^[0-9a-f]{32}$/.test(lower)
    ? `${lower.slice(0, 8)}-${lower.slice(8, 12)}-${lower.slice(12, 16)}-${lower.slice(16, 20)}-${lower.slice(20)}`
    : lower;
  return TRACE_ID.test(hyphenated) ? hyphenated : traceId;
}

function objectOf(value: unknown, what: string): Members {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Members;
  throw new FabricError("envelope.schema", `${what} is not an object`);
}

function withoutNulls(members: Members): Members {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== null));
}

function digest(body: Uint8Array): string {
  return createHash("sha256").update(body).digest("base64url");
}
