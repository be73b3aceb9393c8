/**
 * A batch of history contains many events in one envelope. The batch is stored as it was signed, and not
 * fanned out. Each member becomes the event that it would have been live, with the id that its content
 * implies, so that a message that is read live and in a history is stored once. A member that breaks the
 * contract is refused alone.
 *
 * The core writes the envelopes of the members, not the daemon: each names its batch, whose signature proves
 * it.
 */
import {
  actionOf,
  canonical,
  type Envelope,
  eventId,
  FabricError,
  type HistoryBatch,
  type InboundEvent,
  InboundEventSchema,
  isFabricError,
  requireConforming,
  traceIdOf,
} from "@linkspan/envelopes";
import type { Admission, Admitted } from "./admitted.ts";

const EVENT = "inbound_event";

/**
 * @param batch an admitted `history_batch`
 * @param home home instance of its account
 * @returns its members in their order, each admitted or refused
 */
export function membersOf(batch: Admitted, home: string): Admission[] {
  const { events } = batch.opened.envelope.payload as HistoryBatch;
  return events.map((member, index) => {
    try {
      return admittedMember(batch, member, index, home);
    } catch (error) {
      if (!isFabricError(error)) throw error;
      return refusedMember(batch, member, home, error);
    }
  });
}

type Member = HistoryBatch["events"][number];

/** @throws FabricError `envelope.schema` */
function admittedMember(batch: Admitted, member: Member, index: number, home: string): Admission {
  const { account, conversation } = batch.opened.envelope.payload as HistoryBatch;
  const at = `payload.events.${index}`;
  requireConforming(InboundEventSchema, member, at);
  const event = member as unknown as InboundEvent;
  if (event.account !== account) {
    throw new FabricError("envelope.schema", `${at}.account: a history is of one account`);
  }
  const envelope = envelopeOf(batch, event, idOf(batch, event, home));
  return { ...memberOf(batch, envelope, canonical(envelope)), event: { conversation, payload: event } };
}

/** Kept as it was in the batch, under the id that its content implies, if it implies one. */
function refusedMember(batch: Admitted, member: Member, home: string, refused: FabricError): Admission {
  const { account } = batch.opened.envelope.payload as HistoryBatch;
  const { kind, remote_id, revision } = member;
  const id = idOf(
    batch,
    { kind: String(kind), remote_id: String(remote_id), revision: String(revision) },
    home,
  );
  const envelope = envelopeOf(batch, { ...member, account }, id);
  return { ...memberOf(batch, envelope, Buffer.from(JSON.stringify(member))), refused };
}

function memberOf(batch: Admitted, envelope: Envelope, body: Uint8Array): Admitted {
  const { opened, delivery } = batch;
  const action = actionOf(envelope.service, EVENT) ?? opened.action;
  const { message_id: messageId } = envelope.metadata;
  return {
    opened: { envelope, body, kid: opened.kid, action },
    delivery: {
      ...delivery,
      route: { ...delivery.route, action: EVENT },
      body,
      sig: undefined,
      messageId,
    },
    batch,
  };
}

function envelopeOf({ opened }: Admitted, payload: object, messageId: string): Envelope {
  const { schema, service, occurred_at, metadata } = opened.envelope;
  const { conversation } = opened.envelope.payload as HistoryBatch;
  const { sent_at } = payload as Partial<InboundEvent>;
  const { issuer, workspace_id, instance, epoch } = metadata;
  return {
    schema,
    service,
    action: EVENT,
    trace_id: traceIdOf(messageId),
    occurred_at: sent_at ?? occurred_at,
    metadata: {
      issuer,
      workspace_id,
      instance,
      message_id: messageId,
      conversation,
      ...(epoch !== undefined && { epoch }),
    },
    payload: payload as Envelope["payload"],
  };
}

function idOf(
  { opened }: Admitted,
  {
    kind,
    remote_id: remoteId,
    revision,
  }: Pick<InboundEvent, "remote_id" | "revision"> & { readonly kind: string },
  home: string,
): string {
  const { service, metadata, payload } = opened.envelope;
  const { account } = payload as HistoryBatch;
  return eventId({ workspace: metadata.workspace_id, service, home, account, kind, remoteId, revision });
}
