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
} from "./actions.ts";
export * from "./base64url.ts";
export * from "./canonical.ts";
export { requireConforming } from "./check.ts";
export * from "./canonical-event.ts";
export * from "./decode.ts";
export type * from "./event-context.ts";
export type * from "./received.ts";
export * from "./dsse.ts";
export * from "./enrolment.ts";
export * from "./envelope.ts";
export * from "./errors.ts";
export { PRIMARY } from "./grammar.ts";
export * from "./identity.ts";
export * from "./keys.ts";
export { LIMITS } from "./limits.ts";
export { ackFields, type AckedEvent } from "./msgr/ack-fields.ts";
export { type LinkOutcome, toLinkOutcome } from "./msgr/link-reply.ts";
export * from "./link-fields.ts";
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
export * from "./refs.ts";
export * from "./sealed.ts";
export * from "./sign.ts";
export * from "./sqlstate.ts";
export { MAX_BYTES, MAX_DEPTH, nestsDeeper } from "./strict-json.ts";
export * from "./ticket.ts";
export * from "./topics.ts";
