/** The fabric's own requests: `bridge/core/...`. */
import { z } from "zod";
import { Digest, Instant } from "../codec/envelope.ts";
import { ACTION, INSTANCE, SERVICE, WORKSPACE } from "../names/grammar.ts";
import { LIMITS } from "./limits.ts";
import { orError } from "./link.ts";
import {
  AttemptNumber,
  Base64url,
  ChannelRef,
  Code,
  Count,
  Cursor,
  hasPart,
  Id,
  Millis,
  openObject,
  OpenObject,
  Part,
  Parts,
  type PayloadOf,
  Positive,
  RemoteId,
  Ticket,
  Word,
  limited,
} from "./values.ts";

export const KeyRecordSchema = z.strictObject({
  kid: Base64url,
  public_key_b64u: Base64url,
  seal_b64u: Base64url.exactOptional(),
  issuers: z.array(Id).max(LIMITS.keys),
  purposes: z.array(z.enum(["envelope", "ticket", "checkpoint"])).max(LIMITS.keys),
  services: z.array(Id).max(LIMITS.keys),
  workspaces: z.array(Id).max(LIMITS.workspaces),
  not_before: Instant,
  not_after: Instant,
  revoked_at: Instant.exactOptional(),
});

/** Asks for what a publisher must know, and beats the heart of its instance's lease. */
export const HelloRequestSchema = z.strictObject({
  boot_id: Word,
  version: Word,
  epoch: Positive.exactOptional(),
  leaving: z
    .literal(true)
    .exactOptional()
    .meta({ description: "gives the lease back; the last word of a process" }),
  stays: z.literal(true).exactOptional().meta({ description: "knows a lease with two ends" }),
});

export const HelloReplySchema = z.strictObject({
  version: Word,
  generation: Count,
  partitions: Positive,
  keys: z.array(KeyRecordSchema).max(LIMITS.keys),
  lease: z.discriminatedUnion("state", [
    z.strictObject({
      state: z.literal("held"),
      epoch: Positive,
      ttl_ms: Millis.min(1).meta({
        description: "`write_until`, counted by the holder from before it asked: after it, it sends nothing",
      }),
      stay_ms: Millis.min(1).exactOptional().meta({
        description:
          "`stay_until`, counted alike: after it, it leaves its platform; for who asked with `stays`",
      }),
    }),
    z.strictObject({ state: z.literal("taken"), retry_after_ms: Millis }),
  ]),
});

/** Longest cursor of `resume`, bytes: an identity's id. */
const MAX_CURSOR = LIMITS.idBytes;

export const ResumeRequestSchema = z.strictObject({
  boot_id: Word,
  cursor: limited(MAX_CURSOR)
    .exactOptional()
    .meta({ description: "empty for the first page, then as answered; absent: the asker knows no paging" }),
});

export const ResumeReplySchema = z.strictObject({
  identities: z
    .array(
      z.strictObject({
        identity_id: Id,
        workspace_id: z.string().regex(WORKSPACE),
        user_id: Id,
        home: z.string().regex(INSTANCE),
        settings: openObject(LIMITS.settingsBytes),
        checkpoint: Cursor.exactOptional(),
        ticket: Ticket.meta({ description: "a session ticket" }),
        state: Word,
      }),
    )
    .max(LIMITS.identities),
  cursor: limited(MAX_CURSOR).exactOptional().meta({
    description: "asks for the next page; absent on the last one, and for who did not ask with one",
  }),
});

export const AttemptRequestSchema = z
  .strictObject({ intent_id: Digest, attempt: AttemptNumber, part: Part, parts: Parts })
  .refine(hasPart, "part is not less than parts");

export const AttemptReplySchema = z.strictObject({
  decision: z.enum(["go", "sent", "uncertain", "stop"]),
  window_ms: Millis.min(1).exactOptional(),
  remote_id: RemoteId.exactOptional(),
  code: Code.exactOptional(),
});

/** Many questions of one instance in one request; each is decided as if it had been asked alone. */
export const AttemptBatchSchema = z.strictObject({
  asks: z.array(AttemptRequestSchema).min(1).max(LIMITS.asks),
});

export const AttemptAnswersSchema = z.strictObject({
  answers: z
    .array(orError(AttemptReplySchema))
    .min(1)
    .max(LIMITS.asks)
    .meta({ description: "one for each of the `asks`, in their order" }),
});

export const INTENT_STATES = [
  "recorded",
  "denied",
  "held",
  "queued",
  "attempting",
  "sent",
  "delivered",
  "read",
  "failed",
  "uncertain",
  "expired",
  "cancelled",
] as const;

export const SubmitIntentSchema = z.strictObject({
  idempotency_key: Id,
  service: z.string().regex(SERVICE),
  action: z.string().regex(ACTION),
  conversation: ChannelRef.exactOptional(),
  identity_id: Id,
  payload: openObject(LIMITS.objectBytes),
  expires_at: Instant.exactOptional(),
});

export const SubmitIntentReplySchema = z.strictObject({ intent_id: Digest, state: z.enum(INTENT_STATES) });

export const ChangedSchema = z.strictObject({
  what: z.enum(["keys", "assignments", "grants"]),
  service: z.string().regex(SERVICE).exactOptional(),
  instance: z.string().regex(INSTANCE).exactOptional(),
});

export const FanoutSchema = z.strictObject({
  event: Count.meta({ description: "the committed position" }),
  marker: Word.exactOptional().meta({ description: "names a replay; absent on live events" }),
  sender_identity: Id.exactOptional().meta({
    description: "the linked identity whose words they are, also where another account saw them",
  }),
  envelope: OpenObject,
});

export type HelloRequest = PayloadOf<typeof HelloRequestSchema>;
export type HelloReply = PayloadOf<typeof HelloReplySchema>;
export type ResumeRequest = PayloadOf<typeof ResumeRequestSchema>;
export type ResumeReply = PayloadOf<typeof ResumeReplySchema>;
export type ResumedIdentity = ResumeReply["identities"][number];
export type AttemptRequest = PayloadOf<typeof AttemptRequestSchema>;
export type AttemptReply = PayloadOf<typeof AttemptReplySchema>;
export type AttemptBatch = PayloadOf<typeof AttemptBatchSchema>;
export type AttemptAnswers = PayloadOf<typeof AttemptAnswersSchema>;
export type SubmitIntent = PayloadOf<typeof SubmitIntentSchema>;
export type SubmitIntentReply = PayloadOf<typeof SubmitIntentReplySchema>;
export type IntentState = (typeof INTENT_STATES)[number];
export type Changed = PayloadOf<typeof ChangedSchema>;
export type Fanout = PayloadOf<typeof FanoutSchema>;
