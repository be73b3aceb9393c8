/** Msgr's own payloads per service (contract section 6, "Per-service fields kept from Msgr"). */
import { z } from "zod";
import { AckedSchema, AckSchema } from "./sync.ts";
import { LIMITS } from "./limits.ts";
import {
  Anything,
  limited,
  openObject,
  OpenObject,
  type PayloadOf,
  PlatformId,
  RemoteId,
  Text,
  Ticket,
  Word,
} from "./values.ts";

/** A full JID has three parts of 1,023 bytes and two separators. */
const Jid = limited(3_071, 1);
const Secret = Ticket;
const Blob = limited(LIMITS.sessionBytes, 1);
const Session = openObject(LIMITS.sessionBytes);
const Settings = openObject(LIMITS.settingsBytes);

/** Msgr's callers put their envelope's metadata into the payload. */
const lifted = { metadata: OpenObject.exactOptional() };
const whose = { user_id: PlatformId.exactOptional() };

export const TelegramMessage = z.strictObject({
  chat_id: PlatformId,
  message: Text,
  entities: z.array(OpenObject).max(LIMITS.entities).exactOptional(),
  reply_to: PlatformId.exactOptional(),
  media: OpenObject.exactOptional(),
  ...lifted,
});
export const TelegramEdit = z.strictObject({
  chat_id: PlatformId,
  message_id: PlatformId,
  message: Text,
  entities: z.array(OpenObject).max(LIMITS.entities).exactOptional(),
  ...lifted,
});
export const TelegramDelete = z.strictObject({
  chat_id: PlatformId,
  message_ids: z.array(PlatformId).min(1).max(LIMITS.targets),
  revoke: z.boolean().exactOptional(),
  ...lifted,
});
export const TelegramLink = z.strictObject({
  ...whose,
  phone_number: RemoteId.exactOptional(),
  session: z.strictObject({ blob: Blob.exactOptional(), code: RemoteId.exactOptional() }).exactOptional(),
  two_factor: z.strictObject({ password: Secret }).exactOptional(),
  ...lifted,
});
/** Inbound forms may have any further members, which their events keep in `native`. */
export const TelegramUpdate = z.looseObject({
  update_id: PlatformId,
  chat_id: PlatformId,
  message: Text,
  sender: Anything.exactOptional(),
  update_type: RemoteId.exactOptional(),
  message_id: PlatformId.exactOptional(),
  reply_to: PlatformId.exactOptional(),
  entities: z.array(OpenObject).max(LIMITS.entities).exactOptional(),
  media: OpenObject.exactOptional(),
  ...whose,
  ...lifted,
});
export const TelegramAck = ack(
  { update_id: PlatformId },
  { status: RemoteId.exactOptional(), received_at: RemoteId.exactOptional() },
);

export const MatrixEventOut = z.strictObject({
  room_id: RemoteId,
  event_type: RemoteId,
  content: OpenObject,
  txn_id: RemoteId.exactOptional(),
  ...lifted,
});
export const MatrixMessage = z.strictObject({
  room_id: RemoteId,
  message: Text,
  txn_id: RemoteId.exactOptional(),
  ...lifted,
});
export const MatrixLink = z.strictObject({
  ...whose,
  homeserver: RemoteId,
  login: Settings.exactOptional(),
  credentials: z
    .union([
      z.strictObject({ access_token: Secret }),
      z.strictObject({ username: RemoteId, password: Secret }),
    ])
    .exactOptional(),
  session: Session.exactOptional(),
  device_id: RemoteId.exactOptional(),
  ...lifted,
});
export const MatrixEventIn = z.looseObject({
  event_id: RemoteId,
  room_id: RemoteId,
  sender: RemoteId,
  body: z.union([OpenObject, Text]).meta({ description: "the event's content, or its text" }),
  ...whose,
  homeserver: RemoteId.exactOptional(),
  ...lifted,
});
export const MatrixAck = ack(
  {},
  {
    next_batch: RemoteId.exactOptional(),
    stream_position: PlatformId.exactOptional(),
    event_id: RemoteId.exactOptional(),
  },
);

export const IrcCommand = z.strictObject({
  command: RemoteId,
  target: RemoteId.exactOptional(),
  arguments: z.array(Text).max(LIMITS.arguments).exactOptional(),
  ...lifted,
});
export const IrcMessage = z.strictObject({
  body: Text,
  command: RemoteId.exactOptional(),
  target: RemoteId.exactOptional(),
  ...lifted,
});
export const IrcIdentity = z.strictObject({
  ...whose,
  network: RemoteId,
  nickname: RemoteId,
  auth: Settings.exactOptional(),
  ...lifted,
});
export const IrcInbound = z.looseObject({
  remote_id: RemoteId,
  sender_identity: RemoteId,
  timestamp: RemoteId,
  body: Text,
  network: RemoteId.exactOptional(),
  channel: RemoteId.exactOptional(),
  ...whose,
  ...lifted,
});
export const IrcAck = ack(
  {},
  {
    network: RemoteId.exactOptional(),
    channel: RemoteId.exactOptional(),
    offset: PlatformId.exactOptional(),
    last_seen: PlatformId.exactOptional(),
  },
);

export const XmppStanza = z.strictObject({
  stanza: Text,
  format: Word,
  routing: OpenObject.exactOptional(),
  ...lifted,
});
export const XmppLink = z.strictObject({
  ...whose,
  jid: Jid,
  password: Secret.exactOptional(),
  resource: RemoteId.exactOptional(),
  ...lifted,
});
export const XmppInbound = z.looseObject({
  stanza: Text,
  format: Word,
  sender_identity: Jid,
  timestamp: RemoteId,
  archive_id: RemoteId.exactOptional(),
  ...whose,
  ...lifted,
});
export const XmppAck = ack({ stanza_id: RemoteId }, { status: RemoteId.exactOptional() });

type Shape = Readonly<Record<string, z.ZodType>>;

/**
 * The canonical ack with Msgr's fields beside it and beside each message of it, or Msgr's fields alone, where `keys`
 * must not be missing.
 */
function ack(keys: Shape, more: Shape): z.ZodType {
  const optional = Object.entries(keys).map(([name, key]) => [name, z.exactOptional(key)] as const);
  const beside = { ...Object.fromEntries(optional), ...more };
  const acked = z.array(z.strictObject({ ...beside, ...AckedSchema.shape })).max(LIMITS.acked);
  return z.union([
    z.strictObject({ ...AckSchema.shape, acked, ...beside }),
    z.strictObject({ ...keys, ...more, ...whose, ...lifted }),
  ]);
}

export type MsgrTelegramUpdate = PayloadOf<typeof TelegramUpdate>;
export type MsgrMatrixEvent = PayloadOf<typeof MatrixEventIn>;
export type MsgrIrcInbound = PayloadOf<typeof IrcInbound>;
export type MsgrXmppInbound = PayloadOf<typeof XmppInbound>;
