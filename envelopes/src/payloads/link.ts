/** Linking an account: requests of the core to a daemon, and their answers. */
import { z } from "zod";
import { LIMITS } from "./limits.ts";
import {
  Code,
  Id,
  Millis,
  Name,
  openObject,
  type PayloadOf,
  RemoteId,
  Sentence,
  Url,
  Word,
} from "./values.ts";

const Settings = openObject(LIMITS.settingsBytes);
const Session = openObject(LIMITS.sessionBytes);
const Listed = z.array(openObject(LIMITS.settingsBytes)).max(LIMITS.listed);

/** The answer to any request that failed. */
export const ErrorReplySchema = z.strictObject({
  error: z.strictObject({ code: Code, detail: Sentence, retry_after_ms: Millis.exactOptional() }),
});

/** Every answer may be an error instead. */
export function orError<S extends z.ZodType>(reply: S): z.ZodUnion<[S, typeof ErrorReplySchema]> {
  return z.union([reply, ErrorReplySchema]);
}

/** Settings of one identity, bytes of JSON: `resume` hands out many of them in one answer. */
export const MAX_SETTINGS_BYTES = 16_384;

/** Credentials are not in it: the daemon checks them out of the vault with the envelope's ticket. */
export const LinkRequestSchema = z.strictObject({
  session_id: Id.exactOptional(),
  identity_id: Id.exactOptional(),
  settings: Settings.exactOptional(),
  step: Word.exactOptional().meta({ description: "the step that is being answered" }),
  client_context: openObject(LIMITS.contextBytes)
    .exactOptional()
    .meta({ description: "what the backend's client stated about itself when it opened the session" }),
  callback: Url.exactOptional().meta({
    description: "path of the API where a sign-in page that redirects ends; what it carries comes as fields",
  }),
});

const Linked = z.strictObject({
  status: z.literal("linked"),
  remote: RemoteId.meta({ description: "the platform's id of the account" }),
  name: Name,
  settings: Settings.exactOptional(),
  capabilities: Settings.exactOptional().meta({ description: "of this account, where they differ" }),
});

const Awaiting = z.strictObject({
  status: z.literal("awaiting"),
  step: Word,
  fields: z.array(Word).max(LIMITS.fields),
  message: Sentence,
});

const Failed = z.strictObject({ status: z.literal("failed"), code: Code, message: Sentence });

/** Msgr's words for the same outcomes; what they hold of sessions goes to the vault. */
const MsgrLinked = z.strictObject({
  status: z.literal("linked"),
  user: Settings,
  session: Session.exactOptional(),
  capabilities: Settings.exactOptional(),
  contacts: Listed.exactOptional(),
  chats: Listed.exactOptional(),
  homeserver: RemoteId.exactOptional(),
});

const MsgrCode = z.strictObject({
  status: z.enum(["code_required", "password_required"]),
  phone_code_hash: RemoteId.exactOptional().meta({ description: "the next request carries it in settings" }),
  fields: z.array(Word).max(LIMITS.fields).exactOptional().meta({ description: "default: the declared one" }),
  message: Sentence.exactOptional(),
});

const MsgrRefused = z.strictObject({ status: z.enum(["code_invalid", "auth_failed"]), reason: Sentence });

export const LinkReplySchema = z.union([Linked, Awaiting, Failed, MsgrLinked, MsgrCode, MsgrRefused]);

export const LinkProgressSchema = z.strictObject({
  account: Id,
  step: Word,
  message: Sentence,
  fields: z.array(Word).max(LIMITS.fields).exactOptional(),
  code: Code.exactOptional(),
});

export const DisconnectSchema = z.strictObject({ identity_id: Id });
export const DisconnectedSchema = z.strictObject({ status: z.literal("disconnected") });
export const ConfigureSchema = z.strictObject({ settings: Settings });
export const ConfiguredSchema = z.strictObject({ status: z.literal("configured") });
export const HealthRequestSchema = z.strictObject({});

export type ErrorReply = PayloadOf<typeof ErrorReplySchema>;
export type LinkRequest = PayloadOf<typeof LinkRequestSchema>;
export type LinkReply = PayloadOf<typeof LinkReplySchema>;
export type LinkProgress = PayloadOf<typeof LinkProgressSchema>;
export type Disconnect = PayloadOf<typeof DisconnectSchema>;
