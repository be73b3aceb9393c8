/** The envelope of an intent, and whether there can be one. */
import {
  actionOf,
  mintTicketLater,
  requireEncodable,
  type ServedAction,
  ticketStamp,
  timestamp,
  toServed,
} from "@linkspan/envelopes";
import type { Identity, NewIntent, Turn } from "@linkspan/store";
import type { Core } from "../core.ts";
import { POLICY_HASH } from "../policy/decide.ts";
import { CORE, type Draft } from "../send.ts";
import { intentHash } from "./intent-hash.ts";

/** As long as any ticket is, so that the intent still fits when it carries one. */
const TICKET_ROOM_BYTES = '"ticket":"",'.length + 4_608;

/**
 * Refuses when it is recorded what could not be published later: what is not JSON as the contract has it, too deep,
 * too large, with NUL or fractions, or not in the action's schema.
 *
 * @throws FabricError `envelope.*`, `action.unsupported`
 */
export function requirePublishable(core: Core, intent: NewIntent, identity: Identity): void {
  requireEncodable(
    {
      schema: "msgr.bridge.v1",
      service: intent.service,
      action: intent.action,
      trace_id: intent.traceId,
      occurred_at: timestamp(core.now()),
      metadata: {
        issuer: CORE,
        workspace_id: intent.workspaceId,
        instance: identity.instance,
        message_id: intent.id,
        user_id: intent.userId,
        identity_id: intent.identityId,
        ...(intent.conversation !== undefined && { conversation: intent.conversation }),
      },
      payload: intent.payload,
    },
    TICKET_ROOM_BYTES,
  );
}

/**
 * An intent's envelope for the holder of its instance, with a ticket minted now.
 *
 * @param served what the daemon serves, under which names; the intent is translated where it is needed
 * @param signer of the ticket
 * @throws FabricError (rejects) `ticket.*`, `action.unsupported`
 */
export async function draftOf(
  core: Core,
  { intent, instance, epoch, kid }: Turn,
  served: readonly ServedAction[] | undefined,
  signer = core.signer,
): Promise<Draft> {
  const capability = actionOf(intent.service, intent.action)?.capability ?? "send";
  const { action, payload } = toServed(
    { ...intent, conversation: intent.conversation ?? undefined, messageId: intent.id },
    served,
  );
  const metadata = {
    user_id: intent.user_id,
    identity_id: intent.identity_id,
    ...(intent.conversation !== null && { conversation: intent.conversation }),
  };
  const isAsRecorded = action === intent.action && payload === intent.payload;
  const ticket = await mintTicketLater(
    {
      iss: CORE,
      aud: `daemon:${intent.service}:${instance}`,
      cnf: kid,
      workspace_id: intent.workspace_id,
      identity_id: intent.identity_id,
      service: intent.service,
      actions: [action],
      capabilities: [capability],
      ...(intent.conversation !== null && { conversation: intent.conversation }),
      intent_hash: Buffer.from(
        isAsRecorded ? intent.content : intentHash(action, payload, metadata),
      ).toString("base64url"),
      attempt: intent.attempt,
      lease_id: `${intent.service}:${instance}:${epoch}`,
      policy_hash: POLICY_HASH,
      decision_id: intent.id,
      ...ticketStamp([capability], core.now()),
    },
    signer,
  );
  return {
    service: intent.service,
    instance,
    action,
    workspaceId: intent.workspace_id,
    messageId: intent.id,
    traceId: intent.trace_id,
    metadata: { ...metadata, ticket },
    payload,
  };
}
