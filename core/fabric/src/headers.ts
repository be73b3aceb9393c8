/**
 * Bounds of what travels beside the body, the same in both directions and for every driver. What comes from
 * a broker was written by anybody who may publish there: a value outside its bound counts as absent, and
 * nothing here throws for it. What a process of ours publishes outside a bound is refused before it is sent.
 */
import { FabricError } from "@linkspan/envelopes";
import type { Outgoing } from "./bus.ts";
import { isReplyAddress } from "./peer.ts";

/** Twice an envelope's limit: what is a little too large gets its answer from whoever decodes it. */
export const MAX_BODY_BYTES = 2_097_152;

/** Visible ASCII: fits every column and every log line, and AMQP's short strings of 255 bytes. */
const ID = /^[\x21-\x7e]{1,128}$/;
/** Of any characters but controls, so that whoever verifies it can say what is wrong; room for an inclusion proof. */
const SIGNATURE = /^[\x20-\x7e]{1,4096}$/;
const TRACEPARENT = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;
/** A broker takes no longer one: 2^32 − 1 ms. */
const MAX_TTL_MS = 4_294_967_295;

/** A sender's own word, which is only repeated: any characters but controls, as long as AMQP allows. */
const CORRELATION = /^[\x20-\x7e]{1,255}$/;

export const asCorrelationId = (value: unknown): string | undefined => matching(CORRELATION, value);
export const asId = (value: unknown): string | undefined => matching(ID, value);
export const asSignature = (value: unknown): string | undefined => matching(SIGNATURE, value);
export const asTraceparent = (value: unknown): string | undefined => matching(TRACEPARENT, value);

export function asReplyAddress(value: unknown): string | undefined {
  return typeof value === "string" && value.length <= 255 && isReplyAddress(value) ? value : undefined;
}

/** Text for people: of any length and content in, at most `max` characters without control characters out. */
export function asPlainText(value: unknown, max: number): string {
  if (typeof value !== "string") return "";
  const cut = value.slice(0, max).toWellFormed();
  return cut.replace(/[\p{Cc}\u2028\u2029]/gu, "\ufffd");
}

/** What a message travels with: its sender's own, else its id where it asks for an answer, else what it answers. */
export function correlationOf(
  message: Pick<Outgoing, "correlationId" | "replyTo" | "messageId" | "inReplyTo">,
): string | undefined {
  const own = message.correlationId ?? (message.replyTo === undefined ? undefined : message.messageId);
  return own === undefined || own === "" ? message.inReplyTo : own;
}

/** @throws FabricError `envelope.too_large`, `envelope.schema` (its detail names the member) */
export function checkOutgoing(message: Omit<Outgoing, "route">): void {
  const { body, kid, sig, messageId, inReplyTo, correlationId, traceparent, ttlMs } = message;
  if (body.length > MAX_BODY_BYTES) {
    throw new FabricError("envelope.too_large", `a message of ${body.length} bytes`);
  }
  const faulty =
    (asId(messageId) === undefined && "messageId") ||
    (kid !== undefined && asId(kid) === undefined && "kid") ||
    (sig !== undefined && asSignature(sig) === undefined && "sig") ||
    (inReplyTo !== undefined && asId(inReplyTo) === undefined && "inReplyTo") ||
    (correlationId !== undefined && asCorrelationId(correlationId) === undefined && "correlationId") ||
    (traceparent !== undefined && asTraceparent(traceparent) === undefined && "traceparent") ||
    (ttlMs !== undefined && !(ttlMs >= 0 && ttlMs <= MAX_TTL_MS) && "ttlMs");
  if (faulty !== false) throw new FabricError("envelope.schema", `${faulty} is outside its bounds`);
}

function matching(form: RegExp, value: unknown): string | undefined {
  return typeof value === "string" && form.test(value) ? value : undefined;
}
