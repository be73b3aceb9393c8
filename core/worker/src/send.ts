/** Envelopes that the core issues: composed, signed, published on the bus. */
import { randomUUID } from "node:crypto";
import {
  answerId,
  encode,
  encodeLater,
  type Envelope,
  FabricError,
  LIMITS,
  type Metadata,
  noteId,
  routeOf,
  type Signed,
  timestamp,
  traceIdOf,
} from "@linkspan/envelopes";
import type { Outgoing } from "@linkspan/fabric";
import type { Core } from "./core.ts";

export const CORE = "core";

/** Longest detail in a refusal, code units; short enough for the schema's byte limit with any characters. */
const MAX_DETAIL = 1_000;

/** An envelope of the core, without its time and schema. */
export interface Draft {
  readonly service: string;
  readonly instance: string;
  readonly action: string;
  readonly workspaceId: string;
  readonly messageId: string;
  readonly traceId?: string;
  readonly metadata?: Partial<Metadata>;
  readonly payload: Readonly<Record<string, unknown>>;
}

/** Signs a draft. @throws FabricError `envelope.*` when it breaks the contract */
export function outgoing(core: Core, draft: Draft, bus: Partial<Outgoing> = {}): Outgoing {
  const envelope = envelopeOf(core, draft);
  return messageOf(core, draft, envelope, encode(envelope, core.signer), bus);
}

/** As {@link outgoing}; the signature is made on a thread of the pool. @throws FabricError (rejects) as there */
export async function outgoingLater(core: Core, draft: Draft, signer = core.signer): Promise<Outgoing> {
  const envelope = envelopeOf(core, draft);
  return messageOf(core, draft, envelope, await encodeLater(envelope, signer));
}

function envelopeOf(core: Core, draft: Draft): Envelope {
  return {
    schema: "msgr.bridge.v1",
    service: draft.service,
    action: draft.action,
    trace_id: draft.traceId ?? traceIdOf(draft.messageId),
    occurred_at: timestamp(core.now()),
    metadata: {
      ...draft.metadata,
      issuer: CORE,
      workspace_id: draft.workspaceId,
      instance: draft.instance,
      message_id: draft.messageId,
    },
    payload: draft.payload,
  };
}

function messageOf(
  core: Core,
  draft: Draft,
  envelope: Envelope,
  signed: Signed,
  bus: Partial<Outgoing> = {},
): Outgoing {
  return {
    ...signed,
    route: routeOf(envelope, core.namespace.partitions),
    messageId: draft.messageId,
    ...(draft.metadata?.in_reply_to !== undefined && { inReplyTo: draft.metadata.in_reply_to }),
    ...bus,
  };
}

/**
 * The answer to a request. Its id contains the outcome, so that two different answers to one request have
 * different ids.
 */
export function answerTo(core: Core, request: Envelope, payload: Record<string, unknown>): Outgoing {
  const { workspace_id, message_id } = request.metadata;
  return outgoing(core, {
    service: request.service,
    instance: request.metadata.instance,
    action: request.action,
    workspaceId: workspace_id,
    messageId: answerId(request.action, message_id, "error" in payload ? "error" : "ok", 1),
    traceId: request.trace_id,
    metadata: { in_reply_to: message_id },
    payload,
  });
}

/** The parts of an error that a requester is told: the code and the detail, never a cause. */
export function refusal(error: unknown): {
  error: { code: string; detail: string; retry_after_ms?: number };
} {
  if (!(error instanceof FabricError)) return { error: { code: "internal", detail: "an unexpected fault" } };
  return {
    error: {
      code: error.code,
      detail: error.message.slice(0, MAX_DETAIL).toWellFormed(),
      ...(error.retryAfterMs !== undefined && {
        retry_after_ms: Math.min(Math.max(0, Math.ceil(error.retryAfterMs)), LIMITS.timerMs),
      }),
    },
  };
}

/** A note's message id, with a nonce that is generated here, once. */
export function freshNoteId(action: string): string {
  return noteId(CORE, action, randomUUID());
}
