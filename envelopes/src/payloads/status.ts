/** What a daemon reports of its sends, its connections and itself. */
import { z } from "zod";
import { Instant } from "../envelope.ts";
import { LinkDeclarationSchema } from "./declaration.ts";
import { Code, Count, Id, OpenObject, type PayloadOf, Positive, Text } from "./values.ts";

export const DeliveryStatusSchema = z.strictObject({
  intent_id: Id,
  attempt: Positive,
  part: Count,
  parts: Positive,
  status: z.enum(["sent", "failed", "uncertain", "delivered", "read"]),
  remote_id: Id.exactOptional(),
  code: Code.exactOptional(),
  detail: Text.exactOptional(),
  at: Instant,
});

export const DeferredSchema = z.strictObject({
  intent_id: Id,
  attempt: Positive,
  until: Instant,
  reason: Text,
});

/** Longest cursor of one account, bytes of JSON: `resume` hands it out again. */
export const MAX_CURSOR_BYTES = 16_384;

export const CheckpointSchema = z.strictObject({ account: Id, cursor: OpenObject });

export const ThrottleSchema = z.strictObject({
  account: Id.exactOptional(),
  reason: Text,
  retry_after_ms: Count,
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
  message: Text,
  code: Code.exactOptional(),
  retry_at: Instant.exactOptional(),
});

export const CapabilitiesSchema = z.strictObject({
  capabilities: OpenObject,
  link: LinkDeclarationSchema.exactOptional().meta({ description: "absent: nothing can be linked here" }),
});

export const HealthSchema = z.strictObject({
  status: z.enum(["ok", "degraded", "down"]),
  identities: Count,
  detail: Text.exactOptional(),
  code: Code.exactOptional().meta({ description: "why the instance cannot be served at all" }),
});

export type DeliveryStatus = PayloadOf<typeof DeliveryStatusSchema>;
export type Deferred = PayloadOf<typeof DeferredSchema>;
export type Checkpoint = PayloadOf<typeof CheckpointSchema>;
export type ThrottleNote = PayloadOf<typeof ThrottleSchema>;
export type BridgeStateNote = PayloadOf<typeof BridgeStateSchema>;
export type CapabilitiesNote = PayloadOf<typeof CapabilitiesSchema>;
export type Health = PayloadOf<typeof HealthSchema>;
