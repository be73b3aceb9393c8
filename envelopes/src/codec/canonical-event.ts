/**
 * Msgr's inbound payloads as the canonical `inbound_event` (contract section 6). Pure: what a mapping needs
 * beyond the payload comes in the context. What has no canonical place is kept in `native`.
 */
import { acceptsOf } from "./accepts.ts";
import { FabricError } from "../errors/errors.ts";
import type { CanonicalEvent, EventContext } from "./event-context.ts";
import { type Members, textOf } from "../payloads/members.ts";
import { fromIrc } from "../msgr/irc.ts";
import { fromMatrix } from "../msgr/matrix.ts";
import { fromTelegram } from "../msgr/telegram.ts";
import { fromXmpp } from "../msgr/xmpp.ts";
import { type InboundEvent, InboundEventSchema } from "../payloads/events.ts";
import type {
  MsgrIrcInbound,
  MsgrMatrixEvent,
  MsgrTelegramUpdate,
  MsgrXmppInbound,
} from "../payloads/msgr.ts";

/**
 * The account that saw an event, however its sender names it: by the account itself, or, as Msgr's SDKs do, by the
 * backend's user. What is named twice must be the same.
 *
 * @param metadata of the envelope
 * @param instance stands for an account where nothing is named
 * @throws FabricError `envelope.schema` when two names contradict each other
 */
export function accountOf(payload: Members, metadata: Members, instance: string): string {
  const account = agreed("account", payload.account, metadata.identity_id);
  const user = agreed("user", payload.user_id, metadata.user_id);
  return account ?? user ?? instance;
}

function agreed(what: string, inPayload: unknown, inMetadata: unknown): string | undefined {
  const [inner, outer] = [textOf(inPayload), textOf(inMetadata)];
  if (inner === undefined || outer === undefined || inner === outer) return inner ?? outer;
  throw new FabricError("envelope.schema", `the ${what} in the payload is not the one in metadata`);
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
