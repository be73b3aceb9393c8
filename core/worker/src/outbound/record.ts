/**
 * Recording and deciding: an intent becomes a row, a decision and, when it may go, a place in the outbox,
 * in one transaction. The same key with the same content answers the same; with other content it is refused.
 */
import { randomUUID } from "node:crypto";
import { actionOf, contentHash, FabricError, intentId, parseRef } from "@linkspan/envelopes";
import {
  audit,
  enqueue,
  identityById,
  insertIntent,
  type Intent,
  intentById,
  lockIntent,
  dequeue,
  moveIntent,
  type NewIntent,
  type Queryable,
} from "@linkspan/store";
import type { Core } from "../core.ts";
import { decide } from "../policy/decide.ts";
import { requireFit, requireRoom } from "./room.ts";
import { mayMove } from "./states.ts";

export interface IntentRequest {
  readonly workspaceId: string;
  readonly userId: string;
  readonly identityId: string;
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
 *   `intent.too_large`, `intent.queue_full`
 */
export async function recordIntent(
  core: Core,
  request: IntentRequest,
): Promise<{ readonly intent: Intent; readonly fresh: boolean }> {
  return core.database.transaction(async (client) => {
    const identity = await identityById(client, request.identityId);
    if (identity?.workspace_id !== request.workspaceId) throw noIdentity();
    const intent = toIntent(core, request, identity.service);
    const known = await intentById(client, intent.id);
    if (known !== undefined) return { intent: sameIntent(known, intent), fresh: false };
    if (identity.state === "unlinked") throw noIdentity();
    await requireRoom(client, intent, core.intentLimits);
    const row = await insertIntent(client, intent);
    if (row === undefined)
      return { intent: sameIntent(await intentById(client, intent.id), intent), fresh: false };
    await audit(client, {
      workspaceId: request.workspaceId,
      actor: request.actor,
      action: "intent.recorded",
      subject: row.id,
      detail: { identity_id: identity.id, action: row.action, conversation: row.conversation },
    });
    await settleDecision(core, client, row, identity.instance);
    return { intent: (await intentById(client, row.id)) ?? row, fresh: true };
  });
}

function toIntent(core: Core, request: IntentRequest, service: string): NewIntent {
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
    userId: request.userId,
    identityId: request.identityId,
    service,
    action: request.action,
    conversation: request.conversation,
    payload: { ...request.payload },
    content: contentHash({
      schema: "msgr.bridge.v1",
      service,
      action: request.action,
      trace_id: traceId,
      occurred_at: "",
      metadata: {
        issuer: "core",
        workspace_id: request.workspaceId,
        instance: "primary",
        message_id: id,
        identity_id: request.identityId,
        user_id: request.userId,
        ...(request.conversation !== undefined && { conversation: request.conversation }),
      },
      payload: request.payload,
    }),
    idempotencyKey: request.idempotencyKey,
    traceId,
    expiresAt: request.expiresAt ?? new Date(core.now().getTime() + DEFAULT_LIFE_MS),
  };
}

/** The same key means the same intent, or it is a mistake of the caller's. */
function sameIntent(known: Intent | undefined, wanted: NewIntent): Intent {
  if (known !== undefined && Buffer.compare(known.content, wanted.content) === 0) return known;
  throw new FabricError("intent.conflict", "this idempotency key was used for another intent");
}

function noIdentity(): FabricError {
  return new FabricError("request.not_found", "no such identity in this workspace");
}

/** Writes the decision; an allowed intent takes its place in its lane. */
async function settleDecision(core: Core, on: Queryable, intent: Intent, instance: string): Promise<void> {
  const decision = await decide(on, intent);
  const detail = { decision_id: decision.id, policy: decision.policy };
  await moveIntent(on, intent.id, {
    state: decision.state,
    code: decision.code ?? null,
    detail: decision.reason ?? null,
    decision: detail,
  });
  await audit(on, {
    workspaceId: intent.workspace_id,
    actor: "core",
    action: `intent.${decision.state}`,
    subject: intent.id,
    detail: { ...detail, ...(decision.code !== undefined && { code: decision.code }) },
  });
  core.metrics.intent(decision.state, intent.service);
  if (decision.state !== "queued") return;
  await enqueue(on, {
    intentId: intent.id,
    service: intent.service,
    instance,
    identityId: intent.identity_id,
    lane: intent.conversation ?? "",
    ordinal: intent.ordinal,
  });
  await core.wakes.everywhere(on, "outbox");
}

/**
 * Stops an intent that was not attempted yet.
 *
 * @returns the intent as it stands now; its state tells whether it was stopped
 * @throws FabricError `request.not_found`
 */
export async function cancelIntent(
  core: Core,
  workspaceId: string,
  id: string,
  actor: string,
): Promise<Intent> {
  return core.database.transaction(async (client) => {
    const intent = await lockIntent(client, id);
    if (intent === undefined || intent.workspace_id !== workspaceId) {
      throw new FabricError("request.not_found", "no such intent in this workspace");
    }
    if (!mayMove(intent.state, "cancelled")) return intent;
    await moveIntent(client, id, { state: "cancelled" });
    await dequeue(client, id);
    await audit(client, { workspaceId, actor, action: "intent.cancelled", subject: id });
    await core.wakes.everywhere(client, "outbox");
    return (await intentById(client, id)) ?? intent;
  });
}
