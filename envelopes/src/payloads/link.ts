/** Linking an account: requests of the core to a daemon, and their answers. */
import { z } from "zod";
import { Code, Count, Id, OpenObject, type PayloadOf, Text } from "./values.ts";

/** The answer to any request that failed. */
export const ErrorReplySchema = z.strictObject({
  error: z.strictObject({ code: Code, detail: Text, retry_after_ms: Count.exactOptional() }),
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
  settings: OpenObject.exactOptional(),
  step: Id.exactOptional().meta({ description: "the step that is being answered" }),
});

const Linked = z.strictObject({
  status: z.literal("linked"),
  remote: Id.meta({ description: "the platform's id of the account" }),
  name: Text,
  settings: OpenObject.exactOptional(),
});

const Awaiting = z.strictObject({
  status: z.literal("awaiting"),
  step: Id,
  fields: z.array(Id),
  message: Text,
});

const Failed = z.strictObject({ status: z.literal("failed"), code: Code, message: Text });

/** Msgr's words for the same outcomes; what they hold of sessions goes to the vault. */
const MsgrLinked = z.strictObject({
  status: z.literal("linked"),
  user: OpenObject,
  session: OpenObject.exactOptional(),
  capabilities: OpenObject.exactOptional(),
  contacts: z.array(OpenObject).exactOptional(),
  chats: z.array(OpenObject).exactOptional(),
  homeserver: Id.exactOptional(),
});

const MsgrCode = z.strictObject({
  status: z.enum(["code_required", "password_required"]),
  phone_code_hash: Text,
});

const MsgrRefused = z.strictObject({ status: z.enum(["code_invalid", "auth_failed"]), reason: Text });

export const LinkReplySchema = z.union([Linked, Awaiting, Failed, MsgrLinked, MsgrCode, MsgrRefused]);

export const LinkProgressSchema = z.strictObject({
  account: Id,
  step: Id,
  message: Text,
  fields: z.array(Id).exactOptional(),
  code: Code.exactOptional(),
});

export const DisconnectSchema = z.strictObject({ identity_id: Id });
export const DisconnectedSchema = z.strictObject({ status: z.literal("disconnected") });
export const ConfigureSchema = z.strictObject({ settings: OpenObject });
export const ConfiguredSchema = z.strictObject({ status: z.literal("configured") });
export const HealthRequestSchema = z.strictObject({});

export type ErrorReply = PayloadOf<typeof ErrorReplySchema>;
export type LinkRequest = PayloadOf<typeof LinkRequestSchema>;
export type LinkReply = PayloadOf<typeof LinkReplySchema>;
export type LinkProgress = PayloadOf<typeof LinkProgressSchema>;
export type Disconnect = PayloadOf<typeof DisconnectSchema>;
