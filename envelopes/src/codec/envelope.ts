/** The envelope (contract section 2). Zod is the source; the types follow from it. */
import { z } from "zod";
import { ACTION, DIGEST, INSTANCE, ISSUER, SERVICE, TRACE_ID, WORKSPACE } from "../names/grammar.ts";
import { LIMITS } from "../payloads/limits.ts";
import { CHANNEL_REF } from "../names/refs.ts";
import { isTimestamp, TIMESTAMP_PATTERN } from "./time.ts";

export { isTimestamp, timestamp } from "./time.ts";

export const SCHEMA = "msgr.bridge.v1";

/** `workspace_id` of envelopes that belong to no tenant: hello, health, lease. */
export const NAMESPACE_WORKSPACE = "_";

export const Instant = z
  .string()
  .refine(isTimestamp, "not YYYY-MM-DDTHH:MM:SS.mmmZ")
  .meta({ pattern: TIMESTAMP_PATTERN, description: "YYYY-MM-DDTHH:MM:SS.mmmZ" });

/** A JSON object of any members, never copied; the limits of an envelope are checked apart. */
export const OpenObject = z
  .custom<Record<string, unknown>>(
    (value) => typeof value === "object" && value !== null && !Array.isArray(value),
    "not an object",
  )
  .meta({ type: "object", description: "open object" });

export const Digest = z.string().regex(DIGEST).meta({ description: "32 bytes, base64url without padding" });

const REPLY_TOPIC = new RegExp(
  `^bridge/${SERVICE.source.slice(1, -1)}/${ACTION.source.slice(1, -1)}/reply/${TRACE_ID.source.slice(1, -1)}$`,
);

const OwnId = z
  .string()
  .min(1)
  .max(LIMITS.idBytes)
  .refine((text) => Buffer.byteLength(text) <= LIMITS.idBytes, `longer than ${LIMITS.idBytes} bytes`);

export const MetadataSchema = z.strictObject({
  issuer: z
    .string()
    .regex(ISSUER)
    .meta({ description: "core, backend:<name> or daemon:<service>:<instance>" }),
  workspace_id: z.string().regex(WORKSPACE),
  instance: z.string().regex(INSTANCE),
  message_id: Digest,
  conversation: z.string().regex(CHANNEL_REF).max(LIMITS.refBytes).optional(),
  seq: z.int().min(1).optional(),
  epoch: z.int().min(1).optional(),
  user_id: OwnId.optional(),
  identity_id: OwnId.optional(),
  ticket: z.string().min(1).max(LIMITS.ticketBytes).optional(),
  expires_at: Instant.optional(),
  reply_to: z.string().regex(REPLY_TOPIC).optional(),
  in_reply_to: Digest.optional(),
});

/** All but the payload, whose schema depends on (service, action). */
export const EnvelopeSchema = z.strictObject({
  schema: z.literal(SCHEMA),
  service: z.string().regex(SERVICE),
  action: z.string().regex(ACTION),
  trace_id: z.string().regex(TRACE_ID),
  occurred_at: Instant,
  metadata: MetadataSchema,
  payload: OpenObject,
});

type Shape<T> = { -readonly [K in keyof T]: T[K] };

/** Routing and provenance. Optional members are absent, never `undefined` or null. */
export type Metadata = Readonly<Shape<z.output<typeof MetadataSchema>>>;

export interface Envelope {
  readonly schema: typeof SCHEMA;
  readonly service: string;
  readonly action: string;
  readonly trace_id: string;
  readonly occurred_at: string;
  readonly metadata: Metadata;
  readonly payload: Readonly<Record<string, unknown>>;
}
