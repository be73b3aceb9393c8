/**
 * `bridge/core/submit_intent`: a backend's own signed intent. Who it may speak for was checked when the envelope was
 * opened: its key names the backend and its workspaces. What it wants passes the checks of every intent.
 */
import {
  type Envelope,
  FabricError,
  NAMESPACE_WORKSPACE,
  type SubmitIntent,
  type SubmitIntentReply,
} from "@linkspan/envelopes";
import type { Core } from "../core.ts";
import { recordIntent } from "./record.ts";

/** @throws FabricError `envelope.wrong_issuer` for anyone but a backend, and as {@link recordIntent} */
export async function answerSubmit(core: Core, envelope: Envelope): Promise<SubmitIntentReply> {
  const { issuer, workspace_id: workspaceId, user_id: userId } = envelope.metadata;
  if (!issuer.startsWith("backend:")) {
    throw new FabricError("envelope.wrong_issuer", "only a backend submits intents");
  }
  // The namespace's own workspace is open to every key, and has no intents.
  if (workspaceId === NAMESPACE_WORKSPACE) {
    throw new FabricError("request.invalid", "metadata.workspace_id: not the workspace of anybody");
  }
  const wanted = envelope.payload as SubmitIntent;
  const { intent } = await recordIntent(core, {
    workspaceId,
    identityId: wanted.identity_id,
    service: wanted.service,
    action: wanted.action,
    payload: wanted.payload,
    idempotencyKey: wanted.idempotency_key,
    traceId: envelope.trace_id,
    actor: issuer,
    ...(userId !== undefined && { userId }),
    ...(wanted.conversation !== undefined && { conversation: wanted.conversation }),
    ...(wanted.expires_at !== undefined && { expiresAt: new Date(wanted.expires_at) }),
  });
  return { intent_id: intent.id, state: intent.state };
}
