/** What a user wants said or done on the platform. The conversation is the envelope's. */
import { z } from "zod";
import { EntitySchema, MediaSchema } from "./events.ts";
import { Id, type PayloadOf, Text } from "./values.ts";

export const OutboundMessageSchema = z.strictObject({
  text: Text,
  entities: z.array(EntitySchema).exactOptional(),
  reply_to: Id.exactOptional(),
  media: z.array(MediaSchema).exactOptional(),
});

export const OutboundEditSchema = z.strictObject({
  target: Id,
  text: Text,
  entities: z.array(EntitySchema).exactOptional(),
});

export const OutboundDeleteSchema = z.strictObject({ target: Id });

export const OutboundReactionSchema = z.strictObject({
  target: Id,
  key: Id.meta({ description: "the emoji or the platform's name of the reaction" }),
  remove: z.boolean().exactOptional(),
});

export const OutboundTypingSchema = z.strictObject({ typing: z.boolean() });

/** A read receipt up to `target`; an `ack_*` never is one. */
export const OutboundReadSchema = z.strictObject({ target: Id });

export const ChannelSchema = z.strictObject({
  channel: Id.meta({ description: "the platform's own name of it" }),
  key: Id.exactOptional(),
  reason: Text.exactOptional(),
});

export type OutboundMessage = PayloadOf<typeof OutboundMessageSchema>;
export type OutboundEdit = PayloadOf<typeof OutboundEditSchema>;
export type OutboundDelete = PayloadOf<typeof OutboundDeleteSchema>;
export type OutboundReaction = PayloadOf<typeof OutboundReactionSchema>;
export type OutboundTyping = PayloadOf<typeof OutboundTypingSchema>;
export type OutboundRead = PayloadOf<typeof OutboundReadSchema>;
export type ChannelChange = PayloadOf<typeof ChannelSchema>;
