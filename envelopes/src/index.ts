/** The wire contract. See README.md for the way of one envelope through it. */
export {
  type ActionDef,
  actionOf,
  actionsOf,
  type Capability,
  type Direction,
  isConnector,
  isEvent,
  SERVICES,
} from "./names/actions.ts";
export * from "./codec/base64url.ts";
export * from "./codec/canonical.ts";
export { requireConforming } from "./codec/check.ts";
export * from "./codec/canonical-event.ts";
export * from "./codec/decode.ts";
export type * from "./codec/event-context.ts";
export type * from "./codec/received.ts";
export * from "./codec/dsse.ts";
export * from "./proofs/batch-signer.ts";
export * from "./proofs/enrolment.ts";
export * from "./codec/envelope.ts";
export * from "./errors/errors.ts";
export { PRIMARY } from "./names/grammar.ts";
export * from "./names/message-id.ts";
export * from "./proofs/keys.ts";
export { LIMITS } from "./payloads/limits.ts";
export { ackFields, type AckedEvent } from "./msgr/ack-fields.ts";
export { type LinkOutcome, toLinkOutcome } from "./msgr/link-reply.ts";
export * from "./payloads/link-fields.ts";
export { type OutboundIntent, type ServedForm, toServed } from "./msgr/outbound.ts";
export * from "./payloads/core.ts";
export * from "./payloads/declaration.ts";
export * from "./payloads/events.ts";
export * from "./payloads/federation.ts";
export * from "./payloads/link.ts";
export * from "./payloads/outbound.ts";
export * from "./payloads/status.ts";
export * from "./payloads/sync.ts";
export * from "./payloads/vault.ts";
export * from "./names/refs.ts";
export { PartReader } from "./proofs/length-prefixed.ts";
export * from "./proofs/rows.ts";
export * from "./proofs/sealed.ts";
export * from "./codec/sign.ts";
export * from "./errors/sqlstate.ts";
export { MAX_BYTES, MAX_DEPTH, nestsDeeper } from "./codec/strict-json.ts";
export { leafHash } from "./proofs/signed-batch.ts";
export * from "./proofs/ticket.ts";
export * from "./names/topics.ts";
