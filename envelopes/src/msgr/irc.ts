/**
 * IRC's `inbound_message` as Msgr writes it. Network and channel stand in the payload or in the metadata; no
 * channel means a private query, which only its account sees.
 */
import type { CanonicalEvent, EventContext } from "../codec/event-context.ts";
import type { MsgrIrcInbound } from "../payloads/msgr.ts";
import { channelRef, identityRef } from "../names/refs.ts";
import { readInstant } from "../codec/time.ts";
import { textOf } from "../payloads/members.ts";

export function fromIrc(message: MsgrIrcInbound, context: EventContext): CanonicalEvent {
  const network = message.network ?? textOf(context.metadata?.network) ?? context.instance;
  const channel = message.channel ?? textOf(context.metadata?.channel ?? context.metadata?.target);
  const nick = nickOf(message.sender_identity);
  const isShared = channel !== undefined && /^[#&+!]/.test(channel);
  const remote = isShared ? [network, fold(channel)] : [network, `~${context.account}`, fold(nick)];
  const { body, metadata: _lifted, ...native } = message;
  return {
    conversation: channelRef(context.workspaceId, "irc", remote),
    payload: {
      kind: "message",
      remote_id: message.remote_id,
      revision: "0",
      account: context.account,
      sender: { ref: identityRef("irc", [network, fold(nick)]), name: nick, is_self: false },
      sent_at: readInstant(message.timestamp) ?? context.occurredAt,
      text: body,
      native,
    },
  };
}

/** `nick!user@host`, `nick`, or our own identity ref, whose last segment is the nick. */
function nickOf(sender: string): string {
  if (sender.startsWith("msgr://")) return sender.slice(sender.lastIndexOf("/") + 1) || sender;
  const end = sender.indexOf("!");
  return end > 0 ? sender.slice(0, end) : sender;
}

/** CASEMAPPING is not known here; `rfc1459` applies to servers that do not announce one. */
function fold(name: string): string {
  return name.replace(/[A-Z[\]\\^]/g, (character) => String.fromCharCode(character.charCodeAt(0) + 32));
}
