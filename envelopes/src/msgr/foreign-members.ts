/**
 * Payloads of unsigned daemons whose members are not all ours: what an event has beyond its schema is kept in
 * `native`, what anything else has is left out. Members inside members are held to the schema as they are.
 */
import type { z } from "zod";
import { acceptsOf } from "../codec/accepts.ts";
import type { ActionDef } from "../names/actions.ts";
import { type Members, membersOf } from "../payloads/members.ts";
import { InboundEventSchema } from "../payloads/events.ts";

/** @returns the payload itself where its schema takes it */
export function tidied(action: ActionDef | undefined, payload: Members): Members {
  if (action === undefined || acceptsOf(action.payload)(payload)) return payload;
  if (action.canonical === "inbound_event") return "kind" in payload ? tidiedEvent(payload) : payload;
  const known = knownMembers(action.payload, payload);
  if (action.canonical !== "history_batch" || !Array.isArray(known.events)) return known;
  return { ...known, events: known.events.map((event: unknown) => tidiedEvent(membersOf(event))) };
}

function tidiedEvent(payload: Members): Members {
  const known = knownMembers(InboundEventSchema, payload);
  const unknown = Object.entries(payload).filter(([name]) => !Object.hasOwn(known, name));
  if (unknown.length === 0) return payload;
  return { ...known, native: { ...Object.fromEntries(unknown), ...membersOf(known.native) } };
}

/** All of them for a schema of several forms, which says itself what it takes. */
function knownMembers(schema: z.ZodType, payload: Members): Members {
  const { shape } = schema as { readonly shape?: Members };
  if (shape === undefined) return payload;
  return Object.fromEntries(Object.entries(payload).filter(([name]) => Object.hasOwn(shape, name)));
}
