/**
 * Telegram's `inbound_update`. Message ids are the account's own, except in channels, where they are the
 * channel's; ids are written with their peer type (`user:1`, `chat:2`, `channel:3`), and `peer:4` where Msgr
 * lost it.
 */
import type { CanonicalEvent, EventContext } from "../codec/event-context.ts";
import type { Entity, Media } from "../payloads/events.ts";
import type { MsgrTelegramUpdate } from "../payloads/msgr.ts";
import { channelRef, identityRef } from "../names/refs.ts";
import { type Members, membersOf, optional, textOf } from "../payloads/members.ts";

const ENTITIES: Readonly<Record<string, Entity["type"]>> = {
  MessageEntityBold: "bold",
  MessageEntityItalic: "italic",
  MessageEntityUnderline: "underline",
  MessageEntityStrike: "strike",
  MessageEntityCode: "code",
  MessageEntityPre: "pre",
  MessageEntityUrl: "link",
  MessageEntityTextUrl: "link",
  MessageEntityMention: "mention",
  MessageEntityMentionName: "mention",
  MessageEntitySpoiler: "spoiler",
  MessageEntityBlockquote: "quote",
};

export function fromTelegram(update: MsgrTelegramUpdate, context: EventContext): CanonicalEvent {
  const isEdit = update.update_type?.includes("Edit") ?? false;
  const chat = chatOf(update);
  const shared = chat.startsWith("channel:") || chat.startsWith("chat:");
  const id = String(update.message_id ?? update.update_id);
  const remoteId = chat.startsWith("channel:") ? `${chat}/${id}` : id;
  const sender = membersOf(update.sender);
  const senderId = senderOf(update.sender) ?? chat;
  const { message, metadata: _lifted, ...native } = update;
  return {
    conversation: channelRef(
      context.workspaceId,
      "telegram",
      shared ? [chat] : [`~${context.account}`, chat],
    ),
    payload: {
      kind: isEdit ? "edit" : "message",
      remote_id: remoteId,
      revision: isEdit ? String(update.update_id) : "0",
      account: context.account,
      sender: { ref: identityRef("telegram", [senderId]), name: nameOf(sender) ?? senderId, is_self: false },
      sent_at: context.occurredAt,
      text: message,
      ...optional("entities", entitiesOf(update.entities, message)),
      ...optional("reply_to", textOf(update.reply_to)),
      ...optional("target", isEdit ? remoteId : undefined),
      ...optional("media", mediaOf(update.media)),
      cursor: { update_id: update.update_id },
      native,
    },
  };
}

function chatOf({ chat_id, update_type, sender }: MsgrTelegramUpdate): string {
  if (typeof chat_id === "string" && /^(?:user|chat|channel):/.test(chat_id)) return chat_id;
  if (update_type?.includes("Channel")) return `channel:${chat_id}`;
  const from = textOf(membersOf(sender).user_id ?? sender);
  return from === String(chat_id) ? `user:${chat_id}` : `peer:${chat_id}`;
}

function senderOf(sender: unknown): string | undefined {
  const bare = textOf(sender);
  if (bare !== undefined) return bare.includes(":") ? bare : `user:${bare}`;
  const { user_id, channel_id, id } = membersOf(sender);
  const user = textOf(user_id ?? id);
  if (user !== undefined) return `user:${user}`;
  const channel = textOf(channel_id);
  return channel === undefined ? undefined : `channel:${channel}`;
}

function nameOf(sender: Members): string | undefined {
  const names = [textOf(sender.first_name), textOf(sender.last_name)].filter((name) => name !== undefined);
  return names.length > 0 ? names.join(" ") : textOf(sender.username);
}

/** Both count UTF-16 code units; entities that have no canonical form are left out. */
function entitiesOf(entities: MsgrTelegramUpdate["entities"], text: string): Entity[] | undefined {
  const known = (entities ?? []).flatMap((entity): Entity[] => {
    const type = ENTITIES[textOf(entity.type ?? entity._) ?? ""];
    const { offset, length } = entity;
    if (type === undefined || !Number.isInteger(offset) || !Number.isInteger(length)) return [];
    const [from, count] = [offset as number, length as number];
    if (from < 0 || count < 1 || from + count > text.length) return [];
    return [{ type, offset: from, length: count, ...optional("url", textOf(entity.url)) }];
  });
  return known.length > 0 ? known : undefined;
}

function mediaOf(media: MsgrTelegramUpdate["media"]): Media[] | undefined {
  if (media === undefined) return undefined;
  const type = textOf(media.type ?? media._) ?? "";
  return [{ kind: type.includes("Photo") || media.photo !== undefined ? "image" : "file" }];
}
