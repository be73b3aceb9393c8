/** IRC's two outbound forms: a command with its arguments, and a body. Only messages have a canonical form. */
import { type Members, textOf } from "../payloads/members.ts";
import { nameOf, requireNoMedia, type Translation, without } from "./translation.ts";

const SAY = "PRIVMSG";

export const IRC: Readonly<Record<string, Translation>> = {
  outbound_command: {
    toMsgr: (message, place) => ({ command: SAY, target: nameOf(place), arguments: [lineOf(message)] }),
    toCanonical: ({ command, arguments: words }) => {
      requireSay(command);
      return { text: Array.isArray(words) ? words.join(" ") : "" };
    },
  },
  outbound_message: {
    toMsgr: (message, place) => ({ body: lineOf(message), command: SAY, target: nameOf(place) }),
    toCanonical: ({ body, command }) => {
      requireSay(command ?? SAY);
      return { text: body };
    },
  },
};

/** A second line would be a command of its own to a daemon that writes what it gets. */
function lineOf(message: Members): string {
  requireNoMedia(message);
  const text = textOf(message.text) ?? "";
  if (/[\r\n]/.test(text)) throw without("one IRC command holds one line");
  return text;
}

function requireSay(command: unknown): void {
  if (textOf(command)?.toUpperCase() !== SAY) throw without("only PRIVMSG has a canonical form");
}
