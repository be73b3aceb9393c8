/** History and rosters, and the acknowledgement of what the core has persisted. */
import { z } from "zod";
import { Digest } from "../codec/envelope.ts";
import { LIMITS } from "./limits.ts";
import { ChannelRef, Code, Cursor, Id, Name, type PayloadOf, Ref } from "./values.ts";

export const RequestHistorySchema = z.strictObject({
  conversation: ChannelRef,
  limit: z.int().min(1).max(LIMITS.int4),
  after: Cursor.exactOptional().meta({ description: "a cursor; absent: from the latest backwards" }),
});

export const RefreshRosterSchema = z.strictObject({});

export const RosterSnapshotSchema = z.strictObject({
  account: Id,
  entries: z
    .array(z.strictObject({ ref: Ref, name: Name, kind: z.enum(["contact", "channel"]) }))
    .max(LIMITS.rosterEntries),
});

export const SyncCompleteSchema = z.strictObject({ account: Id, conversation: ChannelRef.exactOptional() });

/** One message of an ack. */
export const AckedSchema = z.strictObject({
  message_id: Digest,
  status: z.enum(["persisted", "quarantined"]),
  code: Code.exactOptional(),
  cursor: Cursor.exactOptional().meta({ description: "as the event gave it" }),
});

/** One per account and batch; `ack_*` means persisted (or kept in quarantine) and nothing else. */
export const AckSchema = z.strictObject({
  account: Id,
  acked: z.array(AckedSchema).max(LIMITS.acked),
  cursor: Cursor.exactOptional().meta({ description: "of the newest message that has one" }),
});

export type RequestHistory = PayloadOf<typeof RequestHistorySchema>;
export type RosterSnapshot = PayloadOf<typeof RosterSnapshotSchema>;
export type SyncComplete = PayloadOf<typeof SyncCompleteSchema>;
export type Ack = PayloadOf<typeof AckSchema>;
