/** Msgr's own payloads per service (contract section 6, "Per-service fields kept from Msgr"). */
import { z } from "zod";
import { AckSchema } from "./sync.ts";
import { Anything, Id, OpenObject, PlatformId, type PayloadOf, Text } from "./values.ts";

/** Msgr's callers put their envelope's metadata into the payload. */
const lifted = { metadata: OpenObject.exactOptional() };
const whose = { user_id: PlatformId.exactOptional() };

export const TelegramMessage = z.strictObject({
  chat_id: PlatformId,
  message: Text,
  entities: z.array(OpenObject).exactOptional(),
  reply_to: PlatformId.exactOptional(),
  media: OpenObject.exactOptional(),
  ...lifted,
});
export const TelegramEdit = z.strictObject({
  chat_id: PlatformId,
  message_id: PlatformId,
  message: Text,
  entities: z.array(OpenObject).exactOptional(),
  ...lifted,
});
export const TelegramDelete = z.strictObject({
  chat_id: PlatformId,
  message_ids: z.array(PlatformId).min(1),
  revoke: z.boolean().exactOptional(),
  ...lifted,
});
export const TelegramLink = z.strictObject({
  ...whose,
  phone_number: Id.exactOptional(),
  session: z.strictObject({ blob: Id.exactOptional(), code: Id.exactOptional() }).exactOptional(),
  two_factor: z.strictObject({ password: Id }).exactOptional(),
  ...lifted,
});
export const TelegramUpdate = z.strictObject({
  update_id: PlatformId,
  chat_id: PlatformId,
  message: Text,
  sender: Anything.exactOptional(),
  update_type: Id.exactOptional(),
  message_id: PlatformId.exactOptional(),
  reply_to: PlatformId.exactOptional(),
  entities: z.array(OpenObject).exactOptional(),
  media: OpenObject.exactOptional(),
  ...whose,
  ...lifted,
});
export const TelegramAck = ack(
  { update_id: PlatformId },
  { status: Id.exactOptional(), received_at: Id.exactOptional() },
);

export const MatrixEventOut = z.strictObject({
  room_id: Id,
  event_type: Id,
  content: OpenObject,
  txn_id: Id.exactOptional(),
  ...lifted,
});
export const MatrixMessage = z.strictObject({
  room_id: Id,
  message: Text,
  txn_id: Id.exactOptional(),
  ...lifted,
});
export const MatrixLink = z.strictObject({
  ...whose,
  homeserver: Id,
  login: OpenObject.exactOptional(),
  credentials: z
    .union([z.strictObject({ access_token: Id }), z.strictObject({ username: Id, password: Id })])
    .exactOptional(),
  session: OpenObject.exactOptional(),
  device_id: Id.exactOptional(),
  ...lifted,
});
export const MatrixEventIn = z.strictObject({
  event_id: Id,
  room_id: Id,
  sender: Id,
  body: z.union([OpenObject, Text]).meta({ description: "the event's content, or its text" }),
  ...whose,
  homeserver: Id.exactOptional(),
  ...lifted,
});
export const MatrixAck = ack(
  {},
  {
    next_batch: Id.exactOptional(),
    stream_position: PlatformId.exactOptional(),
    event_id: Id.exactOptional(),
  },
);

export const IrcCommand = z.strictObject({
  command: Id,
  target: Id.exactOptional(),
  arguments: z.array(Text).exactOptional(),
  ...lifted,
});
export const IrcMessage = z.strictObject({
  body: Text,
  command: Id.exactOptional(),
  target: Id.exactOptional(),
  ...lifted,
});
export const IrcIdentity = z.strictObject({
  ...whose,
  network: Id,
  nickname: Id,
  auth: OpenObject.exactOptional(),
  ...lifted,
});
export const IrcInbound = z.strictObject({
  remote_id: Id,
  sender_identity: Id,
  timestamp: Id,
  body: Text,
  network: Id.exactOptional(),
  channel: Id.exactOptional(),
  ...whose,
  ...lifted,
});
export const IrcAck = ack(
  {},
  {
    network: Id.exactOptional(),
    channel: Id.exactOptional(),
    offset: PlatformId.exactOptional(),
    last_seen: PlatformId.exactOptional(),
  },
);

export const XmppStanza = z.strictObject({
  stanza: Text,
  format: Id,
  routing: OpenObject.exactOptional(),
  ...lifted,
});
export const XmppLink = z.strictObject({
  ...whose,
  jid: Id,
  password: Id.exactOptional(),
  resource: Id.exactOptional(),
  ...lifted,
});
export const XmppInbound = z.strictObject({
  stanza: Text,
  format: Id,
  sender_identity: Id,
  timestamp: Id,
  archive_id: Id.exactOptional(),
  ...whose,
  ...lifted,
});
export const XmppAck = ack({ stanza_id: Id }, { status: Id.exactOptional() });

type Shape = Readonly<Record<string, z.ZodType>>;

/** The canonical ack with Msgr's fields beside it, or Msgr's fields alone, where `keys` must not be missing. */
function ack(keys: Shape, more: Shape): z.ZodType {
  const beside = Object.fromEntries(Object.entries(keys).map(([name, key]) => [name, z.exactOptional(key)]));
  return z.union([
    z.strictObject({ ...AckSchema.shape, ...beside, ...more }),
    z.strictObject({ ...keys, ...more, ...whose, ...lifted }),
  ]);
}

export type MsgrTelegramUpdate = PayloadOf<typeof TelegramUpdate>;
export type MsgrMatrixEvent = PayloadOf<typeof MatrixEventIn>;
export type MsgrIrcInbound = PayloadOf<typeof IrcInbound>;
export type MsgrXmppInbound = PayloadOf<typeof XmppInbound>;
