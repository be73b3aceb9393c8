/**
 * Sends a request of the core to the daemon that holds an instance: signed, with a ticket; the answer is
 * verified.
 */
import { randomUUID } from "node:crypto";
import { decode, FabricError, formatTopic, type Opened, timestamp, traceIdOf } from "@linkspan/envelopes";
import type { Delivery } from "@linkspan/fabric";
import { type Identity, type Lease, UNSIGNED_KID } from "@linkspan/store";
import { isUnsigned } from "../authority.ts";
import type { Core } from "../core.ts";
import { freshNoteId, outgoing } from "../send.ts";
import { sessionTicket } from "../sync/hello.ts";

export interface Question {
  readonly action: "link_account" | "reauthenticate" | "disconnect" | "configure_bridge" | "health_snapshot";
  readonly payload: Record<string, unknown>;
  readonly timeoutMs: number;
}

/**
 * @returns the answer's payload
 * @throws FabricError `bus.timeout`, `bus.unroutable`, `envelope.*`, or what the daemon answered
 */
export async function askDaemon(
  core: Core,
  identity: Identity,
  lease: Lease,
  question: Question,
): Promise<Record<string, unknown>> {
  const messageId = freshNoteId(`${question.action} ${randomUUID()}`);
  const traceId = traceIdOf(messageId);
  const { service, instance, workspace_id: workspaceId, user_id } = identity;
  const request = outgoing(core, {
    service,
    instance,
    action: question.action,
    workspaceId,
    messageId,
    traceId,
    metadata: {
      user_id,
      identity_id: identity.id,
      ticket: sessionTicket(core, identity, lease, lease.kid, [question.action]),
      expires_at: timestamp(new Date(core.now().getTime() + question.timeoutMs)),
      reply_to: formatTopic({ service, instance: "primary", action: question.action, replyTo: traceId }),
    },
    payload: question.payload,
  });
  const delivery = await core.bus.request(request, { timeoutMs: question.timeoutMs });
  const { envelope, kid } = openAnswer(core, lease, identity, messageId, question.action, delivery);
  const { metadata, payload } = envelope;
  const asked =
    metadata.in_reply_to === messageId &&
    metadata.workspace_id === workspaceId &&
    envelope.service === service &&
    envelope.action === question.action &&
    metadata.instance === instance &&
    (metadata.epoch ?? lease.epoch) === lease.epoch;
  if (!asked || (kid ?? UNSIGNED_KID) !== lease.kid) {
    throw new FabricError("envelope.wrong_issuer", "the answer is not the asked daemon's");
  }
  const { error } = payload;
  if (typeof error === "object" && error !== null && "code" in error) throw toError(error);
  return payload;
}

/**
 * The transport tells which request an unsigned daemon answers, because Msgr's SDKs write neither workspace
 * nor message id.
 */
function openAnswer(
  core: Core,
  { kid }: Lease,
  { service, instance, workspace_id }: Identity,
  messageId: string,
  action: string,
  delivery: Pick<Delivery, "body" | "kid" | "sig">,
): Opened {
  const received = { body: delivery.body, kid: delivery.kid, sig: delivery.sig };
  const options = { keys: core.keys, now: core.now() };
  if (!isUnsigned(core, kid)) return decode(received, { ...options, signatures: "required" });
  return decode(
    { ...received, topic: { service, instance, action } },
    { ...options, signatures: "optional", foreignWorkspace: workspace_id, foreignInReplyTo: messageId },
  );
}

function toError(error: object): FabricError {
  const { code, detail } = error as { code: FabricError["code"]; detail?: string };
  return new FabricError(code, detail ?? "the daemon refused");
}
