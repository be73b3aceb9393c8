/** Entries of an account's log → canonical events. Pure. */
import type { PlatformEvent } from "@linkspan/daemon-kit";
import { channelRef, type Entity, identityRef, type InboundEvent, timestamp } from "@linkspan/envelopes";
import type { Entry } from "./client.ts";

export interface Self {
  readonly service: string;
  readonly workspaceId: string;
  readonly account: string;
  /** Its name on the platform. */
  readonly name: string;
}

/** @returns one event; an entry concerns one conversation */
export function toEvents(entry: Entry, self: Self): readonly PlatformEvent[] {
  const { id, at, seq, from, activity } = entry;
  const payload: InboundEvent = {
    kind: activity.kind,
    remote_id: id,
    revision: "0",
    account: self.account,
    sender: { ref: identityRef(self.service, [from]), name: from, is_self: from === self.name },
    sent_at: timestamp(at),
    ...(activity.text !== undefined && { text: activity.text }),
    ...(activity.entities !== undefined && { entities: activity.entities as Entity[] }),
    ...(activity.replyTo !== undefined && { reply_to: activity.replyTo }),
    ...(activity.target !== undefined && { target: activity.target }),
    cursor: { seq },
  };
  const conversation = channelRef(self.workspaceId, self.service, activity.channel.split("/"));
  return [{ conversation, occurredAt: at, payload }];
}

/** Where to read on. */
export function seqOf(cursor: Readonly<Record<string, unknown>> | undefined): number {
  return typeof cursor?.seq === "number" ? cursor.seq : 0;
}
