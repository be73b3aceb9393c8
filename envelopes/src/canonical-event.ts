/**
 * Msgr's inbound payloads as the canonical `inbound_event` (contract section 6). Pure: what a mapping needs
 * beyond the payload comes in the context. What has no canonical place is kept in `native`.
 */
import { acceptsOf } from "./accepts.ts";
import { FabricError } from "./errors.ts";
import { fromIrc } from "./msgr/irc.ts";
import { fromMatrix } from "./msgr/matrix.ts";
import { fromTelegram } from "./msgr/telegram.ts";
import { fromXmpp } from "./msgr/xmpp.ts";
import { type InboundEvent, InboundEventSchema } from "./payloads/events.ts";
import type {
  MsgrIrcInbound,
  MsgrMatrixEvent,
  MsgrTelegramUpdate,
  MsgrXmppInbound,
} from "./payloads/msgr.ts";

export interface EventContext {
  readonly workspaceId: string;
  readonly instance: string;
  /** The linked identity that saw it. */
  readonly account: string;
  /** The envelope's time, for payloads that have none of their own. */
  readonly occurredAt: string;
  /** The envelope's own conversation, which wins over one read from the payload. */
  readonly conversation?: string | undefined;
  /** Metadata as the sender wrote it, such as Msgr's `network` and `channel`. */
  readonly metadata?: Readonly<Record<string, unknown>>;
}

export interface CanonicalEvent {
  /** Undefined where neither envelope nor payload tells. */
  readonly conversation: string | undefined;
  readonly payload: InboundEvent;
}

type Mapping = (payload: never, context: EventContext) => CanonicalEvent;

const MAPPINGS: Readonly<Record<string, Mapping>> = {
  "telegram/inbound_update": (payload: MsgrTelegramUpdate, context) => fromTelegram(payload, context),
  "matrix/inbound_event": (payload: MsgrMatrixEvent, context) => fromMatrix(payload, context),
  "irc/inbound_message": (payload: MsgrIrcInbound, context) => fromIrc(payload, context),
  "xmpp/inbound_stanza": (payload: MsgrXmppInbound, context) => fromXmpp(payload, context),
};

/**
 * @param payload valid under the action's schema; a canonical one is returned as it is
 * @throws FabricError `action.unsupported` for an action that is no inbound event
 */
export function toCanonicalEvent(
  service: string,
  action: string,
  payload: Readonly<Record<string, unknown>>,
  context: EventContext,
): CanonicalEvent {
  const map = MAPPINGS[`${service}/${action}`];
  // Matrix has one name for two forms; Msgr's may hold any members, also one that is called `kind`.
  if (action === "inbound_event" && (map === undefined || acceptsOf(InboundEventSchema)(payload))) {
    return { conversation: context.conversation, payload: payload as InboundEvent };
  }
  if (map === undefined) {
    throw new FabricError("action.unsupported", `${service} ${action} stands for no inbound event`);
  }
  const event = map(payload as never, context);
  return { ...event, conversation: context.conversation ?? event.conversation };
}
