/**
 * XMPP's `inbound_stanza` as Msgr writes it. `format` is `xml`, `json` or the text itself. A group chat is its
 * room; any other conversation is one that only its account sees.
 */
import { createHash } from "node:crypto";
import type { CanonicalEvent, EventContext } from "../codec/event-context.ts";
import type { MsgrXmppInbound } from "../payloads/msgr.ts";
import { channelRef, identityRef } from "../names/refs.ts";
import { readInstant } from "../codec/time.ts";
import { readMessageStanza } from "./stanza.ts";
import { membersOf, optional, textOf } from "../payloads/members.ts";

export function fromXmpp(inbound: MsgrXmppInbound, context: EventContext): CanonicalEvent {
  const read = contentOf(inbound);
  const from = read.from ?? inbound.sender_identity;
  const [bare, resource] = split(from, "/");
  const isRoom = read.type === "groupchat";
  const { metadata: _lifted, ...native } = inbound;
  const sender = isRoom && resource !== undefined ? [bare, resource] : [bare];
  return {
    conversation: channelRef(context.workspaceId, "xmpp", isRoom ? [bare] : [`~${context.account}`, bare]),
    payload: {
      kind: "message",
      remote_id: inbound.archive_id ?? read.id ?? digest(inbound.stanza),
      revision: "0",
      account: context.account,
      sender: {
        ref: identityRef("xmpp", sender),
        name: (isRoom ? resource : undefined) ?? bare,
        is_self: false,
      },
      sent_at: readInstant(inbound.timestamp) ?? context.occurredAt,
      ...optional("text", read.body),
      native,
    },
  };
}

interface Content {
  readonly from: string | undefined;
  readonly type: string | undefined;
  readonly id: string | undefined;
  readonly body: string | undefined;
}

function contentOf({ stanza, format }: MsgrXmppInbound): Content {
  if (format === "xml") return readMessageStanza(stanza);
  if (format !== "json") return { from: undefined, type: undefined, id: undefined, body: stanza };
  const { from, type, id, body } = membersOf(parsed(stanza));
  return { from: textOf(from), type: textOf(type), id: textOf(id), body: textOf(body) };
}

/** A stanza that is no JSON is kept in `native` alone. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function split(text: string, at: string): [string, string | undefined] {
  const index = text.indexOf(at);
  return index <= 0 ? [text, undefined] : [text.slice(0, index), text.slice(index + 1) || undefined];
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("base64url");
}
