/** A message or an action of a user on the platform. The conversation is the envelope's. */
import { z } from "zod";
import { EntitySchema, MediaSchema } from "./events.ts";
import { LIMITS } from "./limits.ts";
import { type PayloadOf, PlatformId, RemoteId, Sentence, Text, Word } from "./values.ts";

export const OutboundMessageSchema = z.strictObject({
  text: Text,
  entities: z.array(EntitySchema).max(LIMITS.entities).exactOptional(),
  reply_to: RemoteId.exactOptional(),
  media: z.array(MediaSchema).max(LIMITS.media).exactOptional(),
});

export const OutboundEditSchema = z.strictObject({
  target: RemoteId,
  text: Text,
  entities: z.array(EntitySchema).max(LIMITS.entities).exactOptional(),
});

export const OutboundDeleteSchema = z.strictObject({ target: RemoteId });

export const OutboundReactionSchema = z.strictObject({
  target: RemoteId,
  key: RemoteId.meta({ description: "the emoji or the platform's name of the reaction" }),
  remove: z.boolean().exactOptional(),
});

export const OutboundTypingSchema = z.strictObject({ typing: z.boolean() });

/** A read receipt up to `target`; an `ack_*` never is one. */
export const OutboundReadSchema = z.strictObject({ target: RemoteId });

export const ChannelSchema = z.strictObject({
  channel: RemoteId.meta({ description: "the platform's own name of it" }),
  key: RemoteId.exactOptional(),
  reason: Sentence.exactOptional(),
});

/** The answer of a daemon that reports nothing else of an intent. Further members are the platform's. */
export const OutboundReplySchema = z
  .looseObject({
    status: Word.exactOptional(),
    remote_id: RemoteId.exactOptional(),
    event_id: RemoteId.exactOptional(),
    message_id: PlatformId.exactOptional(),
  })
  .meta({ description: "`status: failed` and an error mean that it was not sent" });

export type OutboundReply = PayloadOf<typeof OutboundReplySchema>;
export type OutboundMessage = PayloadOf<typeof OutboundMessageSchema>;
export type OutboundEdit = PayloadOf<typeof OutboundEditSchema>;
export type OutboundDelete = PayloadOf<typeof OutboundDeleteSchema>;
export type OutboundReaction = PayloadOf<typeof OutboundReactionSchema>;
export type OutboundTyping = PayloadOf<typeof OutboundTypingSchema>;
export type OutboundRead = PayloadOf<typeof OutboundReadSchema>;
export type ChannelChange = PayloadOf<typeof ChannelSchema>;
