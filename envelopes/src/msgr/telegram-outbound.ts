/**
 * Telegram's outbound actions. Ids of messages in channels are written `channel:5/9`, as their events have them; Msgr's
 * form has the bare number.
 */
import { type Members, membersOf, optional, textOf } from "../payloads/members.ts";
import { nameOf, type Place, requireNoMedia, type Translation, without } from "./translation.ts";

const ENTITIES: Readonly<Record<string, string>> = {
  bold: "MessageEntityBold",
  italic: "MessageEntityItalic",
  underline: "MessageEntityUnderline",
  strike: "MessageEntityStrike",
  code: "MessageEntityCode",
  pre: "MessageEntityPre",
  link: "MessageEntityTextUrl",
  mention: "MessageEntityMention",
  spoiler: "MessageEntitySpoiler",
  quote: "MessageEntityBlockquote",
};

export const TELEGRAM: Readonly<Record<string, Translation>> = {
  outbound_message: {
    toMsgr: (message, place) => ({
      chat_id: chatOf(place),
      message: message.text,
      ...optional("entities", entitiesToMsgr(message.entities)),
      ...optional("reply_to", message.reply_to === undefined ? undefined : bareId(message.reply_to)),
      ...withoutMedia(message),
    }),
    toCanonical: (message, place) => ({
      text: message.message,
      ...optional("entities", entitiesToOurs(message.entities, textOf(message.message) ?? "")),
      ...optional("reply_to", message.reply_to === undefined ? undefined : fullId(message.reply_to, place)),
      ...withoutMedia(message),
    }),
  },
  outbound_edit_message: {
    toMsgr: (edit, place) => ({
      chat_id: chatOf(place),
      message_id: bareId(edit.target),
      message: edit.text,
      ...optional("entities", entitiesToMsgr(edit.entities)),
    }),
    toCanonical: (edit, place) => ({
      target: fullId(edit.message_id, place),
      text: edit.message,
      ...optional("entities", entitiesToOurs(edit.entities, textOf(edit.message) ?? "")),
    }),
  },
  outbound_delete_message: {
    toMsgr: (deletion, place) => ({
      chat_id: chatOf(place),
      message_ids: [bareId(deletion.target)],
      revoke: true,
    }),
    toCanonical: ({ message_ids: ids, revoke }, place) => {
      if (!Array.isArray(ids) || ids.length !== 1) throw without("the canonical form deletes one message");
      if (revoke === false) throw without("the canonical form deletes for everybody");
      return { target: fullId(ids[0], place) };
    },
  },
};

function withoutMedia(message: Members): Members {
  requireNoMedia(message);
  return {};
}

/** As the ref has it; a peer whose type Msgr lost is its number. */
function chatOf(place: Place): string | number {
  const name = nameOf(place);
  return name.startsWith("peer:") ? numberOf(name.slice(5)) : name;
}

function bareId(id: unknown): string | number {
  const text = textOf(id) ?? "";
  return numberOf(text.slice(text.lastIndexOf("/") + 1));
}

function fullId(id: unknown, { name = "" }: Place): string {
  const text = textOf(id) ?? "";
  return name.startsWith("channel:") && !text.includes("/") ? `${name}/${text}` : text;
}

/** A safe integer in its one spelling as a number; anything else stays text. */
function numberOf(text: string): string | number {
  const number = Number(text);
  return Number.isSafeInteger(number) && String(number) === text ? number : text;
}

function entitiesToMsgr(entities: unknown): Members[] | undefined {
  if (!Array.isArray(entities)) return undefined;
  return entities.map((entity: unknown) => {
    const { type, offset, length, url, language } = membersOf(entity);
    const isBareLink = type === "link" && url === undefined;
    return {
      type: isBareLink ? "MessageEntityUrl" : ENTITIES[textOf(type) ?? ""],
      offset,
      length,
      ...optional("url", url),
      ...optional("language", language),
    };
  });
}

/** Those without a canonical form are left out. */
function entitiesToOurs(entities: unknown, text: string): Members[] | undefined {
  if (!Array.isArray(entities)) return undefined;
  return entities.flatMap((entity: unknown) => {
    const { type, _, offset, length, url, language } = membersOf(entity);
    const name = textOf(type ?? _);
    const ours =
      name === "MessageEntityUrl" ? "link" : Object.keys(ENTITIES).find((key) => ENTITIES[key] === name);
    if (ours === undefined || !Number.isInteger(offset) || !Number.isInteger(length)) return [];
    const [from, count] = [Number(offset), Number(length)];
    if (from < 0 || count < 1 || from + count > text.length) return [];
    return [
      {
        type: ours,
        offset: from,
        length: count,
        ...optional("url", textOf(url)),
        ...optional("language", textOf(language)),
      },
    ];
  });
}
