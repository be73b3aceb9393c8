/** Matrix's two outbound forms: an event with its content, and a text. The transaction id is the intent's id. */
import { membersOf, optional, textOf } from "../payloads/members.ts";
import { nameOf, requireNoMedia, type Translation, without } from "./translation.ts";

const MESSAGE = "m.room.message";
const TEXTS: ReadonlySet<unknown> = new Set(["m.text", "m.notice", "m.emote"]);

export const MATRIX: Readonly<Record<string, Translation>> = {
  outbound_event: {
    toMsgr: (message, place) => {
      requireNoMedia(message);
      const replied = textOf(message.reply_to);
      return {
        room_id: nameOf(place),
        event_type: MESSAGE,
        content: {
          msgtype: "m.text",
          body: message.text,
          ...optional(
            "m.relates_to",
            replied === undefined ? undefined : { "m.in_reply_to": { event_id: replied } },
          ),
        },
        txn_id: place.messageId,
      };
    },
    toCanonical: ({ event_type: type, content }) => {
      const { msgtype, body, "m.relates_to": relation } = membersOf(content);
      const { rel_type: relates, "m.in_reply_to": replied } = membersOf(relation);
      if (type !== MESSAGE || !TEXTS.has(msgtype) || relates !== undefined || typeof body !== "string") {
        throw without("only a text has a canonical form");
      }
      return { text: body, ...optional("reply_to", textOf(membersOf(replied).event_id)) };
    },
  },
  outbound_message: {
    toMsgr: (message, place) => {
      requireNoMedia(message);
      return { room_id: nameOf(place), message: message.text, txn_id: place.messageId };
    },
    toCanonical: ({ message }) => ({ text: message }),
  },
};
