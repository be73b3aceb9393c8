/** Signed answers to requests. */
import {
  answerId,
  encode,
  type Envelope,
  type ErrorReply,
  type FabricError,
  LIMITS,
  routeOf,
  SCHEMA,
  type Signer,
  timestamp,
} from "@linkspan/envelopes";
import type { Outgoing } from "@linkspan/fabric";

export interface AnswerAuthor {
  readonly signer: Signer;
  readonly now: () => Date;
}

/** An answer stays in the reply queue no longer than a requester waits for it, milliseconds. */
const TTL_MS = 30_000;

export function answerTo(
  question: Envelope,
  payload: Readonly<Record<string, unknown>>,
  { signer, now }: AnswerAuthor,
  partitions: number,
): Outgoing {
  const { metadata, service, action, trace_id } = question;
  const outcome = "error" in payload ? (payload as ErrorReply).error.code : "ok";
  const message_id = answerId(action, metadata.message_id, outcome, 1);
  const envelope: Envelope = {
    schema: SCHEMA,
    service,
    action,
    trace_id,
    occurred_at: timestamp(now()),
    metadata: {
      issuer: "core",
      workspace_id: metadata.workspace_id,
      instance: metadata.instance,
      message_id,
      in_reply_to: metadata.message_id,
    },
    payload,
  };
  return {
    ...encode(envelope, signer),
    route: routeOf(envelope, partitions),
    messageId: message_id,
    inReplyTo: metadata.message_id,
    mandatory: false,
    ttlMs: TTL_MS,
  };
}

/** Characters of a detail: within the schema's byte limit, whatever the characters are. */
const MAX_DETAIL = 1_024;

export function errorPayload({ code, message, retryAfterMs }: FabricError): ErrorReply {
  return {
    error: {
      code,
      detail: message.slice(0, MAX_DETAIL),
      ...(retryAfterMs !== undefined && {
        retry_after_ms: Math.min(Math.max(0, Math.ceil(retryAfterMs)), LIMITS.timerMs),
      }),
    },
  };
}
