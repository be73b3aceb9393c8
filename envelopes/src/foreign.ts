/**
 * Unsigned envelopes of foreign daemons, as Msgr's SDKs write them, made into ours. Development namespaces
 * only (`signatures: "optional"`).
 *
 * - The topic decides service, instance and with them the issuer, whatever the body claims.
 * - `trace_id` may lack its hyphens, `occurred_at` may have an offset, microseconds or no zone (then UTC).
 *   What is missing is filled in: the time with now, the schema with ours.
 * - Metadata may be minimal, may hold members that are not ours, and may stand inside the payload: ours are
 *   lifted, the envelope's own first, the others dropped. Null members of a payload are dropped.
 * - An event's identity is that of the canonical event that it stands for, so that the same event read twice
 *   is one. Anything else is identified by its bytes.
 *
 * The received bytes stay what is stored; this is only how they are read.
 */
import { createHash } from "node:crypto";
import { actionOf } from "./actions.ts";
import { type CanonicalEvent, toCanonicalEvent } from "./canonical-event.ts";
import type { DecodeOptions, Received } from "./decode.ts";
import { NAMESPACE_WORKSPACE, SCHEMA, timestamp } from "./envelope.ts";
import { FabricError } from "./errors.ts";
import { PRIMARY, TRACE_ID } from "./grammar.ts";
import { eventId, noteId, traceIdOf } from "./identity.ts";
import type { Parsed } from "./strict-json.ts";
import { readInstant } from "./time.ts";

type Members = Readonly<Record<string, unknown>>;

/** Members of metadata that a foreign daemon may set itself. */
const LIFTED = ["workspace_id", "conversation", "seq", "user_id", "identity_id", "in_reply_to"] as const;

/**
 * @returns an envelope in our form, not yet checked against any schema
 * @throws FabricError `envelope.schema`
 */
export function liftForeign(
  { value, text, plain }: Parsed,
  received: Received,
  options: DecodeOptions,
): Parsed {
  const body = objectOf(value, "the envelope");
  const { metadata: inner, ...rest } = withoutNulls(objectOf(body.payload ?? {}, "payload"));
  const where = received.topic ?? received.route;
  const service = where?.service ?? body.service;
  const instance = where?.instance ?? PRIMARY;
  const claimed: Members = { ...membersOf(inner), ...membersOf(body.metadata) };
  const metadata: Record<string, unknown> = {
    workspace_id: options.foreignWorkspace ?? NAMESPACE_WORKSPACE,
    instance,
    issuer: `daemon:${String(service)}:${instance}`,
  };
  for (const name of LIFTED) if (claimed[name] != null) metadata[name] = claimed[name];
  const occurredAt =
    body.occurred_at == null ? timestamp(options.now) : readInstant(String(body.occurred_at));
  const lifted = {
    schema: body.schema ?? SCHEMA,
    service: body.service,
    action: body.action,
    trace_id: readTraceId(body.trace_id),
    occurred_at: occurredAt ?? body.occurred_at,
    metadata,
    payload: rest,
  };
  identify(lifted, claimed, received.body);
  return { value: lifted, text, plain };
}

interface Lifted {
  readonly service: unknown;
  readonly action: unknown;
  trace_id: unknown;
  readonly occurred_at: unknown;
  readonly metadata: Record<string, unknown>;
  readonly payload: Members;
}

/** Sets `message_id`, and for an event `conversation` and the trace id that follows from it. */
function identify(lifted: Lifted, claimed: Members, body: Uint8Array): void {
  const { metadata } = lifted;
  const event = eventOf(lifted, claimed);
  if (event === undefined) {
    const nonce = createHash("sha256").update(body).digest("base64url");
    metadata.message_id = noteId(String(metadata.issuer), String(lifted.action), nonce);
    lifted.trace_id ??= traceIdOf(String(metadata.message_id));
    return;
  }
  const { kind, remote_id: remoteId, revision, account } = event.payload;
  metadata.conversation ??= event.conversation;
  if (metadata.conversation === undefined) delete metadata.conversation;
  metadata.message_id = eventId({
    workspace: String(metadata.workspace_id),
    service: String(lifted.service),
    home: String(metadata.instance),
    account,
    kind,
    remoteId,
    revision,
  });
  lifted.trace_id = traceIdOf(String(metadata.message_id));
}

/** Undefined for what is no event, and for an event that its schema is about to refuse. */
function eventOf(lifted: Lifted, claimed: Members): CanonicalEvent | undefined {
  const { service, action, payload, metadata, occurred_at } = lifted;
  if (typeof service !== "string" || typeof action !== "string" || typeof occurred_at !== "string")
    return undefined;
  const def = actionOf(service, action);
  if (def?.canonical !== "inbound_event" || !def.payload.safeParse(payload).success) return undefined;
  return toCanonicalEvent(service, action, payload, {
    workspaceId: String(metadata.workspace_id),
    instance: String(metadata.instance),
    account: accountOf(payload, claimed),
    occurredAt: occurred_at,
    conversation: typeof metadata.conversation === "string" ? metadata.conversation : undefined,
    metadata: claimed,
  });
}

function accountOf(payload: Members, claimed: Members): string {
  const account = payload.account ?? claimed.identity_id ?? payload.user_id ?? claimed.user_id;
  return account == null ? PRIMARY : String(account);
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

function membersOf(value: unknown): Members {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Members) : {};
}

function withoutNulls(members: Members): Members {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== null));
}
