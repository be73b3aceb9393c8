/** An intent as a daemon received it: proven, with a ticket that covers exactly this. */
import {
  assertTicketFor,
  contentHash,
  FabricError,
  type KeyRing,
  type Opened,
  openTicketLater,
  type TicketClaims,
  toBase64url,
} from "@linkspan/envelopes";
import type { OutboundAction } from "../connector.ts";

export interface TicketCheck {
  readonly keys: KeyRing;
  readonly now: Date;
  /** Issuer string of this daemon, and the kid it signs with. */
  readonly daemon: string;
  readonly kid: string;
}

/**
 * Opens an intent's ticket and holds it against the envelope: workspace, identity, service, action,
 * conversation, content.
 *
 * @throws FabricError (rejects) `ticket.*`
 */
export async function proveTicket({ envelope, action }: Opened, check: TicketCheck): Promise<TicketClaims> {
  const { metadata } = envelope;
  const claims = await openTicketLater(metadata.ticket, {
    keys: check.keys,
    now: check.now,
    audience: check.daemon,
    cnf: check.kid,
  });
  assertTicketFor(claims, {
    workspaceId: metadata.workspace_id,
    identityId: metadata.identity_id ?? "",
    service: envelope.service,
    // Msgr's names are granted as such or as what they stand for.
    action: claims.actions.includes(envelope.action) ? envelope.action : action.canonical,
    conversation: metadata.conversation,
    intentHash: toBase64url(contentHash(envelope)),
  });
  if (claims.attempt === undefined) throw new FabricError("ticket.invalid", "the ticket names no attempt");
  return claims;
}

/** The same in the connector's terms. */
export function outboundOf({ envelope, action }: Opened): OutboundAction {
  const { metadata: lifted, ...payload } = envelope.payload;
  return {
    action: action.canonical,
    name: envelope.action,
    conversation: envelope.metadata.conversation,
    payload: lifted === undefined ? envelope.payload : payload,
  };
}

/** The platform's idempotency key of one part: equal whenever this part of this intent is said. */
export function partKey(intentId: string, part: number): string {
  return `${intentId}.${part}`;
}
