/** An event on the platform (contract section 6, `inbound_event`). */
import { z } from "zod";
import { Instant } from "../codec/envelope.ts";
import { LIMITS } from "./limits.ts";
import {
  ChannelRef,
  Count,
  Cursor,
  Id,
  IdentityRef,
  Name,
  OpenObject,
  type PayloadOf,
  Positive,
  Ref,
  RemoteId,
  Text,
  Url,
  Word,
} from "./values.ts";

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
    url: Url.exactOptional(),
    ref: IdentityRef.exactOptional(),
    language: Word.exactOptional(),
  })
  .meta({ description: "offset and length in UTF-16 code units" });

export const MediaSchema = z.strictObject({
  kind: z.enum(["image", "audio", "video", "voice", "sticker", "file"]),
  name: Name.min(1).exactOptional(),
  mime: Word.exactOptional(),
  bytes: Count.exactOptional(),
  url: Url.exactOptional(),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .exactOptional(),
});

export const InboundEventSchema = z.strictObject({
  kind: z.enum(EVENT_KINDS),
  remote_id: RemoteId.meta({ description: "the platform's id; deterministic where the platform has none" }),
  revision: RemoteId.meta({ description: '"0", or the edit\'s own platform version' }),
  account: Id.meta({ description: "the linked identity that saw it" }),
  sender: z.strictObject({ ref: IdentityRef, name: Name, is_self: z.boolean() }),
  sent_at: Instant,
  text: Text.exactOptional().meta({
    description:
      "the text of a message; for a reaction its key, for membership and presence the change (join, leave, kick, online), for a channel its topic or name",
  }),
  entities: z.array(EntitySchema).max(LIMITS.entities).exactOptional(),
  reply_to: RemoteId.exactOptional(),
  thread: RemoteId.exactOptional(),
  target: Ref.exactOptional().meta({
    description:
      "remote id of what is edited, deleted, reacted to or read; for membership the ref of whom it concerns, where that is not the sender",
  }),
  media: z.array(MediaSchema).max(LIMITS.media).exactOptional(),
  cursor: Cursor.exactOptional().meta({ description: "what the matching ack returns" }),
  native: OpenObject.exactOptional().meta({ description: "the platform's own fields" }),
});

export const HistoryBatchSchema = z.strictObject({
  account: Id,
  conversation: ChannelRef,
  events: z.array(OpenObject).max(LIMITS.historyEvents).meta({
    description: "payloads of inbound_event, oldest first; one that breaks its schema is refused alone",
  }),
  complete: z.boolean().meta({ description: "false: more follows" }),
});

export type Entity = PayloadOf<typeof EntitySchema>;
export type Media = PayloadOf<typeof MediaSchema>;
export type InboundEvent = PayloadOf<typeof InboundEventSchema>;
export type EventKind = InboundEvent["kind"];
export type HistoryBatch = PayloadOf<typeof HistoryBatchSchema>;
