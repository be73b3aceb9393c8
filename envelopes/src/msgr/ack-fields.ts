/**
 * Msgr's own fields of an acknowledgement (contract section 6): where its SDKs look for what was acknowledged. They are
 * read from the event: from its cursor, from what its daemon sent of its own, and from the event's ids.
 */
import { isFabricError } from "../errors/errors.ts";
import type { InboundEvent } from "../payloads/events.ts";
import { parseRef, type Ref } from "../names/refs.ts";
import { LIMITS } from "../payloads/limits.ts";
import { type Members, membersOf, optional } from "../payloads/members.ts";

export interface AckedEvent {
  readonly payload: InboundEvent;
  readonly conversation: string | undefined;
}

type Fields = Readonly<Record<string, string | number>>;

/** The event as its sender gave it, cursor first. */
type Given = (name: string) => string | number | undefined;

const FIELDS: Readonly<Record<string, (event: AckedEvent, given: Given, receivedAt: string) => Fields>> = {
  telegram(_event, given, receivedAt) {
    const updateId = given("update_id");
    return updateId === undefined ? {} : { update_id: updateId, received_at: receivedAt };
  },
  matrix({ payload }, given) {
    return {
      event_id: given("event_id") ?? (payload.revision === "0" ? payload.remote_id : payload.revision),
      ...optional("next_batch", asText(given("next_batch"))),
      ...optional("stream_position", given("stream_position")),
    };
  },
  irc({ payload, conversation }, given) {
    const [network, channel] = placeOf(conversation);
    const offset = given("offset") ?? payload.remote_id;
    return {
      ...optional("network", asText(given("network")) ?? network),
      ...optional("channel", asText(given("channel")) ?? channel),
      offset,
      last_seen: given("last_seen") ?? offset,
    };
  },
  xmpp({ payload }, given) {
    return { stanza_id: asText(given("stanza_id") ?? given("archive_id")) ?? payload.remote_id };
  },
};

/** @param receivedAt when the core took it in. @returns nothing for a service that Msgr has no acks of */
export function ackFields(service: string, event: AckedEvent, receivedAt: string): Fields {
  const { cursor, native } = event.payload;
  const sources: readonly Members[] = [membersOf(cursor), membersOf(native)];
  const given: Given = (name) => {
    for (const source of sources) {
      const value = source[name];
      if (isPlatformId(value)) return value;
    }
    return undefined;
  };
  return FIELDS[service]?.(event, given, receivedAt) ?? {};
}

/** As the schemas of acks take it; anything else in an open object is none of ours. */
function isPlatformId(value: unknown): value is string | number {
  if (typeof value === "number") return Number.isSafeInteger(value);
  return typeof value === "string" && value !== "" && Buffer.byteLength(value) <= LIMITS.remoteIdBytes;
}

function asText(value: string | number | undefined): string | undefined {
  return value === undefined ? undefined : String(value);
}

/** Network and channel of a shared IRC conversation; a private query has no channel. */
function placeOf(conversation: string | undefined): [network?: string, channel?: string] {
  const ref = conversation === undefined ? undefined : readRef(conversation);
  if (ref?.kind !== "channel") return [];
  const [network, channel] = ref.remote;
  if (network === undefined) return [];
  return channel === undefined || channel.startsWith("~") ? [network] : [network, channel];
}

/** An event that was refused for its reference is acknowledged as well, without the fields that come from the reference. */
function readRef(conversation: string): Ref | undefined {
  try {
    return parseRef(conversation);
  } catch (error) {
    if (isFabricError(error)) return undefined;
    throw error;
  }
}
