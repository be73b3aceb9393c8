/** XMPP's outbound form: a stanza. Ours is written as XML; one that is read may be XML, JSON or the text itself. */
import { membersOf, textOf } from "../payloads/members.ts";
import { readMessageStanza } from "./stanza.ts";
import { nameOf, requireNoMedia, type Translation, without } from "./translation.ts";

const ESCAPED: Readonly<Record<string, string>> = {
  "<": "&lt;",
  ">": "&gt;",
  "&": "&amp;",
  '"': "&quot;",
  "'": "&apos;",
};

export const XMPP: Readonly<Record<string, Translation>> = {
  outbound_stanza: {
    toMsgr: (message, place) => {
      requireNoMedia(message);
      const to = nameOf(place);
      const type = place.isPrivate ? "chat" : "groupchat";
      const body = escaped(textOf(message.text) ?? "");
      return {
        stanza: `<message to="${escaped(to)}" type="${type}" id="${place.messageId}"><body>${body}</body></message>`,
        format: "xml",
        routing: { to, type },
      };
    },
    toCanonical: ({ stanza, format }) => {
      const written = textOf(stanza) ?? "";
      const text = format === "xml" ? readMessageStanza(written).body : bodyOf(written, format);
      if (text === undefined) throw without("only a message with a body has a canonical form");
      return { text };
    },
  },
};

function bodyOf(stanza: string, format: unknown): string | undefined {
  if (format !== "json") return stanza;
  try {
    return textOf(membersOf(JSON.parse(stanza)).body);
  } catch {
    // Not JSON after all, so there is no body in it.
    return undefined;
  }
}

/** Characters that XML 1.0 cannot hold, even escaped, are left out. */
function escaped(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones
  return text
    .replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, "")
    .replace(/[<>&"']/g, (one) => ESCAPED[one] ?? one);
}
