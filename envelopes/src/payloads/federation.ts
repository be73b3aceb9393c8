/** The Chorus federation and its Conductor. Bytes are hex, as their HTTP interfaces write them. */
import { z } from "zod";
import { LIMITS } from "./limits.ts";
import { Count, Id, type PayloadOf, Sentence, Word } from "./values.ts";

const Hex = z
  .string()
  .regex(/^(?:[0-9a-f]{2})*$/)
  .max(LIMITS.textBytes);

export const MESSAGE_TYPES = [
  "PostAnnouncement",
  "UserRegistration",
  "DayProof",
  "ModerationEvent",
  "InstanceJoinRequest",
  "CommunityCreation",
  "UserUpdate",
  "CommunityUpdate",
  "CommunityMembershipUpdate",
  "BlacklistUpdate",
] as const;

/** A federation message that this bridge relays; `message_data` is the original protobuf, unchanged. */
export const FederationSchema = z.strictObject({
  message_type: z.enum(MESSAGE_TYPES),
  message_data: Hex,
  target_instances: z
    .array(Id)
    .max(LIMITS.listed)
    .exactOptional()
    .meta({ description: "absent: all trusted instances" }),
});

export const ConductorEventSchema = z.strictObject({
  event_type: Id,
  epoch: z.int(),
  payload: Hex,
  metadata: z
    .record(Word, Sentence)
    .refine((members) => Object.keys(members).length <= LIMITS.fields, "too many members")
    .exactOptional(),
});

export const ConductorReceiptSchema = z.strictObject({ event_hash: Id, epoch: z.int() });

export const SubmitEventsSchema = z
  .strictObject({ events: z.array(ConductorEventSchema).min(1).max(LIMITS.historyEvents) })
  .meta({ description: "all or nothing" });
export const SubmitEventsReplySchema = z.strictObject({
  receipts: z.array(ConductorReceiptSchema).max(LIMITS.historyEvents),
});

export const DayProofRequestSchema = z.strictObject({ day_number: Count });
export const DayProofSchema = z.strictObject({
  day_number: Count,
  proof: Hex,
  proof_hash: Hex,
  canonical: z.boolean(),
  source: Sentence,
  stale: z
    .boolean()
    .exactOptional()
    .meta({ description: "true: from the cache while the Conductor is away" }),
});

export type Federation = PayloadOf<typeof FederationSchema>;
export type ConductorEvent = PayloadOf<typeof ConductorEventSchema>;
export type ConductorReceipt = PayloadOf<typeof ConductorReceiptSchema>;
export type DayProofRequest = PayloadOf<typeof DayProofRequestSchema>;
export type DayProof = PayloadOf<typeof DayProofSchema>;
