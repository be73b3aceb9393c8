/** Step 7 of the contract's order: the schema of the envelope, then that of its payload. */
import type { z } from "zod";
import { acceptsOf } from "./accepts.ts";
import { type ActionDef, actionOf } from "../names/actions.ts";
import { type Envelope, EnvelopeSchema } from "./envelope.ts";
import { FabricError } from "../errors/errors.ts";
import { faultOf } from "../errors/fault.ts";
import { checkLimits } from "./envelope-limits.ts";
import type { Parsed } from "./strict-json.ts";

export interface Checked {
  readonly envelope: Envelope;
  readonly action: ActionDef;
}

/**
 * The envelope is the parsed value itself, not a copy: what was verified is what is read.
 *
 * @throws FabricError `envelope.schema`, `action.unsupported` (the envelope is sound, its action unknown)
 */
export function check(parsed: Parsed): Checked {
  conform(EnvelopeSchema, parsed.value, "");
  checkLimits(parsed);
  const envelope = parsed.value as Envelope;
  const action = actionOf(envelope.service, envelope.action);
  if (action === undefined) {
    throw new FabricError("action.unsupported", `${envelope.service} has no action ${envelope.action}`);
  }
  conform(payloadSchema(action, envelope), envelope.payload, "payload");
  return { envelope, action };
}

/** True for the answer to a request; its payload has the reply's schema. */
export function isReply(action: ActionDef, envelope: Envelope): boolean {
  return action.reply !== undefined && envelope.metadata.in_reply_to !== undefined;
}

function payloadSchema(action: ActionDef, envelope: Envelope): z.ZodType {
  return action.reply !== undefined && isReply(action, envelope) ? action.reply : action.payload;
}

/**
 * For what stands inside a payload and is held to a schema of its own.
 *
 * @param at path to it, for the error
 * @throws FabricError `envelope.schema`
 */
export function requireConforming(schema: z.ZodType, value: unknown, at: string): void {
  conform(schema, value, at);
}

function conform(schema: z.ZodType, value: unknown, at: string): void {
  if (!acceptsOf(schema)(value)) throw new FabricError("envelope.schema", faultOf(schema, value, at));
}
