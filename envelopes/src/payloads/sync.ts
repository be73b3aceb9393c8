/** History and rosters, and the acknowledgement of what the core has persisted. */
import { z } from "zod";
import { Digest } from "../envelope.ts";
import { CHANNEL_REF } from "../refs.ts";
import { Code, Id, OpenObject, type PayloadOf, Positive, Text } from "./values.ts";

const Conversation = z.string().regex(CHANNEL_REF);

export const RequestHistorySchema = z.strictObject({
  conversation: Conversation,
  limit: Positive,
  after: OpenObject.exactOptional().meta({ description: "a cursor; absent: from the latest backwards" }),
});

export const RefreshRosterSchema = z.strictObject({});

export const RosterSnapshotSchema = z.strictObject({
  account: Id,
  entries: z.array(z.strictObject({ ref: Id, name: Text, kind: z.enum(["contact", "channel"]) })),
});

export const SyncCompleteSchema = z.strictObject({ account: Id, conversation: Conversation.exactOptional() });

/** One per account and batch; `ack_*` means persisted (or kept in quarantine) and nothing else. */
export const AckSchema = z.strictObject({
  account: Id,
  acked: z.array(
    z.strictObject({
      message_id: Digest,
      status: z.enum(["persisted", "quarantined"]),
      code: Code.exactOptional(),
    }),
  ),
  cursor: OpenObject.exactOptional(),
});

export type RequestHistory = PayloadOf<typeof RequestHistorySchema>;
export type RosterSnapshot = PayloadOf<typeof RosterSnapshotSchema>;
export type SyncComplete = PayloadOf<typeof SyncCompleteSchema>;
export type Ack = PayloadOf<typeof AckSchema>;
