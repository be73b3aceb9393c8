/** Matrix's `inbound_event` as Msgr writes it: {event_id, room_id, sender, body}. */
import type { CanonicalEvent, EventContext } from "../codec/event-context.ts";
import type { Media } from "../payloads/events.ts";
import type { MsgrMatrixEvent } from "../payloads/msgr.ts";
import { channelRef, identityRef } from "../names/refs.ts";
import { type Members, membersOf, optional, textOf } from "../payloads/members.ts";

const MEDIA: Readonly<Record<string, Media["kind"]>> = {
  "m.image": "image",
  "m.audio": "audio",
  "m.video": "video",
  "m.file": "file",
};

export function fromMatrix(event: MsgrMatrixEvent, context: EventContext): CanonicalEvent {
  const content: Members = typeof event.body === "string" ? { body: event.body } : event.body;
  const relation = membersOf(content["m.relates_to"]);
  const edited = relation.rel_type === "m.replace" ? textOf(relation.event_id) : undefined;
  const thread = relation.rel_type === "m.thread" ? textOf(relation.event_id) : undefined;
  const shown = edited === undefined ? content : { ...content, ...membersOf(content["m.new_content"]) };
  const { metadata: _lifted, body: _body, ...rest } = event;
  return {
    conversation: channelRef(context.workspaceId, "matrix", [event.room_id]),
    payload: {
      kind: edited === undefined ? "message" : "edit",
      remote_id: edited ?? event.event_id,
      revision: edited === undefined ? "0" : event.event_id,
      account: context.account,
      sender: { ref: identityRef("matrix", [event.sender]), name: event.sender, is_self: false },
      sent_at: context.occurredAt,
      ...optional("text", typeof shown.body === "string" ? shown.body : undefined),
      ...optional("reply_to", textOf(membersOf(relation["m.in_reply_to"]).event_id)),
      ...optional("thread", thread),
      ...optional("target", edited),
      ...optional("media", mediaOf(shown)),
      native: { ...rest, content },
    },
  };
}

function mediaOf(content: Members): Media[] | undefined {
  const kind = MEDIA[textOf(content.msgtype) ?? ""];
  if (kind === undefined) return undefined;
  const info = membersOf(content.info);
  return [
    {
      kind,
      ...optional("name", textOf(content.filename ?? content.body)),
      ...optional("mime", textOf(info.mimetype)),
      ...optional(
        "bytes",
        Number.isSafeInteger(info.size) && Number(info.size) >= 0 ? Number(info.size) : undefined,
      ),
      ...optional("url", textOf(content.url)),
    },
  ];
}
