/** What a request asks for, checked as far as that needs no transaction. */
import { randomUUID } from "node:crypto";
import { actionOf, contentHash, FabricError, intentId, parseRef } from "@linkspan/envelopes";
import type { Identity, Intent, NewIntent } from "@linkspan/store";
import type { Core } from "../core.ts";
import type { IntentRequest, Wanted } from "./intent-request.ts";
import { requirePublishable } from "./publishable.ts";
import { requireFit } from "./room.ts";

/** How far an intent's end may lie in the future without one: a day. */
const DEFAULT_LIFE_MS = 24 * 60 * 60 * 1_000;

/**
 * @param speaker the identity as it was read a moment ago
 * @param conversation the request's, as the connector writes it
 * @throws FabricError `request.invalid`, `action.unsupported`, `intent.too_large`; `envelope.*` for what fits no envelope
 */
export function toWanted(
  core: Core,
  request: IntentRequest,
  speaker: Identity,
  conversation: string | undefined,
): Wanted {
  const intent = toIntent(core, request, speaker, conversation);
  requirePublishable(core, intent, speaker);
  return { request, intent };
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
 *
 * @throws FabricError `intent.conflict`
 */
export function sameIntent(known: Intent, { intent, request }: Wanted): Intent {
  const contents = [intent.content, contentOf(request, { ...intent, conversation: request.conversation })];
  if (contents.some((content) => Buffer.compare(known.content, content) === 0)) return known;
  throw new FabricError("intent.conflict", "this idempotency key was used for another intent");
}

export function noIdentity(): FabricError {
  return new FabricError("request.not_found", "no such identity in this workspace");
}
