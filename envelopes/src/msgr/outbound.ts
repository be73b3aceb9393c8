/**
 * Outbound actions between their two forms: ours, and that of Msgr's name for it. A daemon announces what it serves and
 * in which form; an intent may be written in either. Pure. Text always survives; formatting and replies only where the
 * other form has a place for them. What would lose more has no translation.
 */
import { acceptsOf } from "../codec/accepts.ts";
import { actionOf } from "../names/actions.ts";
import { FabricError } from "../errors/errors.ts";
import type { Members } from "../payloads/members.ts";
import { OutboundDeleteSchema, OutboundEditSchema, OutboundMessageSchema } from "../payloads/outbound.ts";
import type { ServedAction } from "../payloads/status.ts";
import { parseRef } from "../names/refs.ts";
import { IRC } from "./irc-outbound.ts";
import { MATRIX } from "./matrix-outbound.ts";
import { TELEGRAM } from "./telegram-outbound.ts";
import type { Place, Translation } from "./translation.ts";
import { XMPP } from "./xmpp-outbound.ts";

export interface OutboundIntent {
  readonly service: string;
  /** Name that it was recorded under. */
  readonly action: string;
  readonly payload: Members;
  readonly conversation: string | undefined;
  readonly messageId: string;
}

export interface ServedForm {
  readonly action: string;
  readonly payload: Members;
}

type Form = "canonical" | "msgr";

/** By service and Msgr's name. */
const TRANSLATIONS: Readonly<Record<string, Readonly<Record<string, Translation>>>> = {
  telegram: TELEGRAM,
  matrix: MATRIX,
  irc: IRC,
  xmpp: XMPP,
};

const CANONICAL = {
  outbound_message: OutboundMessageSchema,
  outbound_edit: OutboundEditSchema,
  outbound_delete: OutboundDeleteSchema,
} as const;

/**
 * @param served what the daemon announced; undefined: everything, under every name
 * @returns the intent as the daemon takes it; what it takes as it is comes back unchanged
 * @throws FabricError `action.unsupported`: nobody serves it, or not in a form that can hold it
 */
export function toServed(intent: OutboundIntent, served: readonly ServedAction[] | undefined): ServedForm {
  const { service, action, payload } = intent;
  if (served === undefined) return { action, payload };
  const canonical = canonicalOf(service, action);
  const offers = served.filter(({ name }) => canonicalOf(service, name) === canonical);
  const written: ServedAction = { name: action, form: writtenForm(canonical, action, payload) };
  const offer =
    offers.find((one) => one.name === action && formOf(one, canonical) === formOf(written, canonical)) ??
    offers.find((one) => one.name === action) ??
    offers[0];
  if (offer === undefined) throw unsupported(`the ${service} daemon serves no ${canonical}`);
  if (offer.name === action && formOf(offer, canonical) === formOf(written, canonical)) {
    return { action, payload };
  }
  const place = placeOf(intent);
  const ours =
    formOf(written, canonical) === "canonical"
      ? payload
      : translationOf(service, action).toCanonical(payload, place);
  if (formOf(offer, canonical) === "canonical") return { action: offer.name, payload: ours };
  return { action: offer.name, payload: translationOf(service, offer.name).toMsgr(ours, place) };
}

function canonicalOf(service: string, name: string): string {
  return actionOf(service, name)?.canonical ?? name;
}

function formOf({ name, form }: ServedAction, canonical: string): Form {
  return form ?? (name === canonical ? "canonical" : "msgr");
}

/** A name that both have takes both forms; the payload shows which. */
function writtenForm(canonical: string, name: string, payload: Members): Form {
  if (name !== canonical) return "msgr";
  const schema = CANONICAL[canonical as keyof typeof CANONICAL] as
    | (typeof CANONICAL)[keyof typeof CANONICAL]
    | undefined;
  return schema === undefined || acceptsOf(schema)(payload) ? "canonical" : "msgr";
}

function translationOf(service: string, name: string): Translation {
  const translation = TRANSLATIONS[service]?.[name];
  if (translation === undefined) throw unsupported(`${service} ${name} has no other form`);
  return translation;
}

function placeOf({ conversation, messageId }: OutboundIntent): Place {
  const ref = conversation === undefined ? undefined : parseRef(conversation);
  if (ref?.kind !== "channel") return { messageId, name: undefined, isPrivate: false };
  return {
    messageId,
    name: ref.remote.at(-1),
    isPrivate: ref.remote.some((segment) => segment.startsWith("~")),
  };
}

function unsupported(why: string): FabricError {
  return new FabricError("action.unsupported", why);
}
