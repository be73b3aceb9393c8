/**
 * Recording and deciding: an intent becomes a row, a decision and, when it may go, a place in the outbox,
 * in one transaction. The same key with the same content answers the same; with other content it is refused.
 */
import { randomUUID } from "node:crypto";
import { actionOf, contentHash, FabricError, intentId, parseRef } from "@linkspan/envelopes";
import {
  audit,
  enqueue,
  holdIdentity,
  type Identity,
  identityById,
  insertIntent,
  type Intent,
  intentById,
  lockIntent,
  type NewIntent,
  type Queryable,
} from "@linkspan/store";
import { type AfterCommit, committed } from "../after-commit.ts";
import type { Core } from "../core.ts";
import { decide } from "../policy/decide.ts";
import { oneRef } from "./conversation-ref.ts";
import { requirePublishable } from "./publishable.ts";
import { requireFit, requireRoom } from "./room.ts";
import { requireSendable } from "./sendable.ts";
import { transition } from "./transition.ts";

export interface IntentRequest {
  readonly workspaceId: string;
  /** Default: the identity's user. */
  readonly userId?: string;
  readonly identityId: string;
  /** Must be the identity's, if given. */
  readonly service?: string;
  /** Canonical or one of the service's own names, such as `outbound_message`. */
  readonly action: string;
  readonly conversation?: string;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly idempotencyKey: string;
  readonly traceId?: string;
  readonly expiresAt?: Date;
  /** Who asks, for the audit: `token:<name>` or `backend:<name>`. */
  readonly actor: string;
}

/** How far an intent's end may lie in the future without one: a day. */
const DEFAULT_LIFE_MS = 24 * 60 * 60 * 1_000;

/**
 * @returns the intent, and whether this call recorded it
 * @throws FabricError `request.invalid`, `request.not_found`, `action.unsupported`, `intent.conflict`,
 *   `intent.too_large`, `intent.queue_full`; `envelope.*` for what fits no envelope
 */
export async function recordIntent(
  core: Core,
  request: IntentRequest,
): Promise<{ readonly intent: Intent; readonly fresh: boolean }> {
  requireSendable(request);
  const speaker = await identityById(core.database.pool, request.identityId);
  if (speaker?.workspace_id !== request.workspaceId) throw noIdentity();
  // What is wrong by itself is refused before a transaction is opened for it.
  const { conversation: asked } = request;
  const conversation = asked === undefined ? undefined : await oneRef(core.database.pool, speaker, asked);
  const intent = toIntent(core, request, speaker, conversation);
  requirePublishable(core, intent, speaker);
  return committed(core, async (on, after) => {
    // Held, so that unlinking sees this intent or this sees the unlinking.
    const identity = await holdIdentity(on, request.identityId);
    if (identity === undefined) throw noIdentity();
    const known = await intentById(on, intent.id);
    if (known !== undefined) return { intent: sameIntent(known, intent, request), fresh: false };
    if (identity.state === "unlinked") throw noIdentity();
    await requireRoom(on, intent, core.intentLimits, core.waitingRoom);
    const row = await insertIntent(on, intent);
    if (row === undefined)
      return { intent: sameIntent(await intentById(on, intent.id), intent, request), fresh: false };
    await audit(on, {
      workspaceId: request.workspaceId,
      actor: request.actor,
      action: "intent.recorded",
      subject: row.id,
      detail: { identity_id: identity.id, action: row.action, conversation: row.conversation },
    });
    return { intent: await settleDecision(core, on, after, row, identity), fresh: true };
  });
}

function toIntent(
  core: Core,
  request: IntentRequest,
  speaker: Identity,
  conversation: string | undefined,
): NewIntent {
  const { service } = speaker;
  const userId = request.userId ?? speaker.user_id;
  if (request.service !== undefined && request.service !== service) {
    throw new FabricError("request.invalid", "service: the identity is of another service");
  }
  const action = actionOf(service, request.action);
  if (action?.direction !== "to_daemon" || action.capability === undefined) {
    throw new FabricError("action.unsupported", `${service} has no outbound action of this name`);
  }
  const payload = action.payload.safeParse(request.payload);
  if (!payload.success) {
    const [issue] = payload.error.issues;
    throw new FabricError(
      "request.invalid",
      `payload.${issue?.path.join(".") ?? ""}: ${issue?.message ?? "invalid"}`,
    );
  }
  if (request.conversation !== undefined) {
    const ref = parseRef(request.conversation);
    if (ref.kind !== "channel" || ref.workspace !== request.workspaceId || ref.service !== service) {
      throw new FabricError(
        "request.invalid",
        "the conversation is not a channel of this workspace and service",
      );
    }
  }
  requireFit(request.payload, core.intentLimits);
  const traceId = request.traceId ?? randomUUID();
  const id = intentId(request.workspaceId, request.idempotencyKey);
  return {
    id,
    workspaceId: request.workspaceId,
    userId,
    identityId: request.identityId,
    service,
    action: request.action,
    conversation,
    payload: { ...request.payload },
    content: contentOf(request, { service, userId, conversation }),
    idempotencyKey: request.idempotencyKey,
    traceId,
    expiresAt: request.expiresAt ?? new Date(core.now().getTime() + DEFAULT_LIFE_MS),
  };
}

function contentOf(
  request: IntentRequest,
  of: { readonly service: string; readonly userId: string; readonly conversation: string | undefined },
): Uint8Array {
  const { service, userId, conversation } = of;
  return contentHash({
    schema: "msgr.bridge.v1",
    service,
    action: request.action,
    trace_id: "",
    occurred_at: "",
    metadata: {
      issuer: "core",
      workspace_id: request.workspaceId,
      instance: "primary",
      message_id: "",
      identity_id: request.identityId,
      user_id: userId,
      ...(conversation !== undefined && { conversation }),
    },
    payload: request.payload,
  });
}

/**
 * The same key means the same intent, or it is a mistake of the caller's. What was recorded before its connector had
 * declared how refs are written has the caller's spelling.
 */
function sameIntent(known: Intent | undefined, wanted: NewIntent, request: IntentRequest): Intent {
  const contents = [wanted.content, contentOf(request, { ...wanted, conversation: request.conversation })];
  if (known !== undefined && contents.some((content) => Buffer.compare(known.content, content) === 0))
    return known;
  throw new FabricError("intent.conflict", "this idempotency key was used for another intent");
}

function noIdentity(): FabricError {
  return new FabricError("request.not_found", "no such identity in this workspace");
}

/** Writes the decision; an allowed intent takes its place in its lane. */
async function settleDecision(
  core: Core,
  on: Queryable,
  after: AfterCommit,
  intent: Intent,
  identity: Identity,
): Promise<Intent> {
  const decision = await decide(on, intent);
  const detail = { decision_id: decision.id, policy: decision.policy };
  const decided = await transition(core, on, after, intent, "decision", {
    to: decision.state,
    actor: "core",
    code: decision.code,
    detail: decision.reason,
    row: { decision: detail },
    audit: detail,
  });
  if (decided?.state === "queued") {
    await enqueue(on, [
      {
        intentId: intent.id,
        service: intent.service,
        instance: identity.instance,
        identityId: intent.identity_id,
        lane: intent.conversation ?? "",
        bytes: Buffer.byteLength(JSON.stringify(intent.payload)),
      },
    ]);
  }
  return decided ?? intent;
}

/**
 * Stops an intent of which no part is being said. When a part was said already, the rest is stopped and it ends
 * `failed` with `send.incomplete`.
 *
 * @returns the intent as it stands now; its state tells whether it was stopped
 * @throws FabricError `request.not_found`
 */
export function cancelIntent(core: Core, workspaceId: string, id: string, actor: string): Promise<Intent> {
  return committed(core, async (on, after) => {
    const intent = await lockIntent(on, id);
    if (intent === undefined || intent.workspace_id !== workspaceId) {
      throw new FabricError("request.not_found", "no such intent in this workspace");
    }
    const step = { to: "cancelled", actor } as const;
    return (await transition(core, on, after, intent, "cancellation", step)) ?? intent;
  });
}
