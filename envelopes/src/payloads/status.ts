/** A daemon's reports about its sends, its connections and itself. */
import { z } from "zod";
import { Digest, Instant } from "../codec/envelope.ts";
import { LIMITS } from "./limits.ts";
import { ACTION } from "../names/grammar.ts";
import { LinkDeclarationSchema } from "./declaration.ts";
import {
  AttemptNumber,
  Code,
  Count,
  Cursor,
  hasPart,
  Id,
  Millis,
  openObject,
  Part,
  Parts,
  type PayloadOf,
  RemoteId,
  Sentence,
} from "./values.ts";

const STATUS = {
  intent_id: Digest,
  attempt: AttemptNumber,
  part: Part,
  parts: Parts,
  status: z.enum(["sent", "failed", "uncertain", "delivered", "read"]),
  remote_id: RemoteId.exactOptional(),
  code: Code.exactOptional(),
  detail: Sentence.exactOptional(),
  at: Instant,
};

export const DeliveryStatusSchema = z.strictObject(STATUS).refine(hasPart, "part is not less than parts");

/** One of many statuses, with the members that a single one has in its metadata. */
export const ReportedStatusSchema = z
  .strictObject({
    ...STATUS,
    message_id: Digest.meta({ description: "its own idempotency key, as that of a single status" }),
    identity_id: Id.meta({ description: "the identity that the intent was given to" }),
  })
  .refine(hasPart, "part is not less than parts");

/** Many statuses of one instance, in the order in which they came about; each has its own effect. */
export const DeliveryStatusesSchema = z.strictObject({
  statuses: z.array(ReportedStatusSchema).min(1).max(LIMITS.statuses),
});

export const DeferredSchema = z.strictObject({
  intent_id: Digest,
  attempt: AttemptNumber,
  until: Instant,
  reason: Sentence,
});

/** Longest cursor of one account, bytes of JSON: `resume` hands it out again. */
export const MAX_CURSOR_BYTES = LIMITS.cursorBytes;

export const CheckpointSchema = z.strictObject({ account: Id, cursor: Cursor });

export const ThrottleSchema = z.strictObject({
  account: Id.exactOptional(),
  reason: Sentence,
  retry_after_ms: Millis,
});

export const BRIDGE_STATES = [
  "starting",
  "unconfigured",
  "running",
  "connecting",
  "backfilling",
  "connected",
  "transient_disconnect",
  "bad_credentials",
  "unknown_error",
  "logged_out",
  "unsupported",
] as const;

export const BridgeStateSchema = z.strictObject({
  account: Id,
  state: z.enum(BRIDGE_STATES),
  message: Sentence,
  code: Code.exactOptional(),
  retry_at: Instant.exactOptional(),
});

export const ServedActionSchema = z.strictObject({
  name: z.string().regex(ACTION).meta({ description: "under which the daemon takes it" }),
  form: z.enum(["canonical", "msgr"]).exactOptional().meta({
    description: "of its payload; absent: canonical for a canonical name, Msgr's for one of Msgr's",
  }),
});

export const CapabilitiesSchema = z.strictObject({
  capabilities: openObject(LIMITS.capabilitiesBytes),
  actions: z.array(ServedActionSchema).max(LIMITS.actions).exactOptional().meta({
    description: "what of the outbound actions it serves; absent: all of them",
  }),
  knows: z
    .array(z.enum(["attempt", "delivery_status", "reply", "signed_batches"]))
    .max(LIMITS.actions)
    .exactOptional()
    .meta({
      description:
        "asks before it sends a part; reports what became of it; answers the intent itself; verifies signatures of batches. Absent: the first two",
    }),
  link: LinkDeclarationSchema.exactOptional().meta({ description: "absent: nothing can be linked here" }),
});

export const HealthSchema = z.strictObject({
  status: z.enum(["ok", "degraded", "down"]),
  identities: Count,
  detail: Sentence.exactOptional(),
  code: Code.exactOptional().meta({ description: "why the instance cannot be served at all" }),
});

export type DeliveryStatus = PayloadOf<typeof DeliveryStatusSchema>;
export type ReportedStatus = PayloadOf<typeof ReportedStatusSchema>;
export type DeliveryStatuses = PayloadOf<typeof DeliveryStatusesSchema>;
export type Deferred = PayloadOf<typeof DeferredSchema>;
export type Checkpoint = PayloadOf<typeof CheckpointSchema>;
export type ThrottleNote = PayloadOf<typeof ThrottleSchema>;
export type BridgeStateNote = PayloadOf<typeof BridgeStateSchema>;
export type ServedAction = PayloadOf<typeof ServedActionSchema>;
export type CapabilitiesNote = PayloadOf<typeof CapabilitiesSchema>;
export type Health = PayloadOf<typeof HealthSchema>;
