/** What a daemon saw on the platform (contract section 6, `inbound_event`). */
import { z } from "zod";
import { Instant } from "../envelope.ts";
import { CHANNEL_REF } from "../refs.ts";
import { Count, Id, IdentityRef, OpenObject, type PayloadOf, Positive, Text } from "./values.ts";

export const EVENT_KINDS = [
  "message",
  "edit",
  "delete",
  "reaction",
  "typing",
  "receipt",
  "presence",
  "membership",
  "channel",
] as const;

export const ENTITY_TYPES = [
  "bold",
  "italic",
  "underline",
  "strike",
  "code",
  "pre",
  "link",
  "mention",
  "spoiler",
  "quote",
] as const;

export const EntitySchema = z
  .strictObject({
    type: z.enum(ENTITY_TYPES),
    offset: Count,
    length: Positive,
    url: z.string().min(1).exactOptional(),
    ref: IdentityRef.exactOptional(),
    language: z.string().min(1).exactOptional(),
  })
  .meta({ description: "offset and length in UTF-16 code units" });

export const MediaSchema = z.strictObject({
  kind: z.enum(["image", "audio", "video", "voice", "sticker", "file"]),
  name: z.string().min(1).exactOptional(),
  mime: z.string().min(1).exactOptional(),
  bytes: Count.exactOptional(),
  url: z.string().min(1).exactOptional(),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .exactOptional(),
});

export const InboundEventSchema = z.strictObject({
  kind: z.enum(EVENT_KINDS),
  remote_id: Id.meta({ description: "the platform's id; deterministic where the platform has none" }),
  revision: Id.meta({ description: '"0", or the edit\'s own platform version' }),
  account: Id.meta({ description: "the linked identity that saw it" }),
  sender: z.strictObject({ ref: IdentityRef, name: Text, is_self: z.boolean() }),
  sent_at: Instant,
  text: Text.exactOptional().meta({
    description:
      "what was said; for a reaction its key, for membership and presence the change (join, leave, kick, online), for a channel its topic or name",
  }),
  entities: z.array(EntitySchema).exactOptional(),
  reply_to: Id.exactOptional(),
  thread: Id.exactOptional(),
  target: Id.exactOptional().meta({
    description: "remote id of what is edited, deleted, reacted to or read",
  }),
  media: z.array(MediaSchema).exactOptional(),
  cursor: OpenObject.exactOptional().meta({ description: "what the matching ack returns" }),
  native: OpenObject.exactOptional().meta({ description: "the platform's own fields" }),
});

export const HistoryBatchSchema = z.strictObject({
  account: Id,
  conversation: z.string().regex(CHANNEL_REF),
  events: z.array(InboundEventSchema),
  complete: z.boolean().meta({ description: "false: more follows" }),
});

export type Entity = PayloadOf<typeof EntitySchema>;
export type Media = PayloadOf<typeof MediaSchema>;
export type InboundEvent = PayloadOf<typeof InboundEventSchema>;
export type EventKind = InboundEvent["kind"];
export type HistoryBatch = PayloadOf<typeof HistoryBatchSchema>;
