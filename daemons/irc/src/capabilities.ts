/** Capabilities of IRC. A feature that only some servers offer is not promised here. */
import type { Capabilities } from "@linkspan/daemon-kit";
import type { LinkDeclaration, LinkField } from "@linkspan/envelopes";
import { textBytes } from "./wire/line-bytes.ts";

/**
 * Lines per second and at once that every server in use accepts from one client. The unit of `Part.cost`: on a
 * network with another pace a part costs more or less.
 */
export const PACE = { perSecond: 1, burst: 8 } as const;

export const CAPABILITIES: Capabilities = {
  send: ["outbound_message", "join_channel", "leave_channel"],
  edit: false,
  delete: false,
  reaction: false,
  typing: false,
  read: false,
  history: true,
  roster: true,
  maxPartBytes: textBytes("PRIVMSG", "#"),
  pace: PACE,
  caselessFrom: 1,
  entities: ["bold", "italic", "underline", "strike", "code", "pre", "spoiler", "link", "quote"],
};

type Syntax = LinkField["syntax"];
const asked = (name: string, label: string, syntax: Syntax, more: Partial<LinkField> = {}): LinkField => ({
  name,
  label,
  required: false,
  secret: false,
  syntax,
  max_bytes: 300,
  ...more,
});
const advanced = (name: string, label: string, syntax: Syntax, more: Partial<LinkField> = {}): LinkField =>
  asked(name, label, syntax, { advanced: true, ...more });
const secret = { secret: true } as const;

/** Every setting of config.ts and every credential, each with what an IRC line can hold. */
export const DECLARATION: LinkDeclaration = {
  name: "IRC",
  description: "Any IRC network, one connection per linked account.",
  fields: [
    asked("network", "Name of the network, as it appears in channel references", "word", {
      required: true,
      example: "libera",
    }),
    asked("host", "Server host; needless for networks that are known", "word", {
      example: "irc.libera.chat",
    }),
    asked("port", "Server port; 6697 with TLS, 6667 without", "integer", { example: "6697" }),
    asked("tls", "Encrypt the connection: true or false", "boolean", { example: "true" }),
    asked("nick", "Nickname", "word", { required: true, example: "alice" }),
    asked("channels", "Channels to join, separated by commas", "list", {
      max_bytes: 8_192,
      example: "#linkspan,#help",
    }),
    asked("account", "Account name for SASL, when it differs from the nickname", "word"),
    asked("password", "Account password (SASL or NickServ)", "line", secret),
    advanced("server_password", "Password of the server (PASS)", "line", secret),
    advanced("certificate", "Client certificate, PEM", "text", { ...secret, max_bytes: 32_768 }),
    advanced("certificate_key", "Key of the client certificate, PEM", "text", {
      ...secret,
      max_bytes: 32_768,
    }),
    advanced("channel_key:*", "Key of a channel (+k)", "word", secret),
    advanced("nickname", "Nickname, under Msgr's name", "word"),
    advanced("user_id", "Whose account it is, as Msgr sends it along", "line"),
    advanced("tls.ca", "Authority in PEM, trusted instead of the system's", "text", { max_bytes: 8_192 }),
    advanced("tls.fingerprint", "SHA-256 of the one certificate that is trusted", "word"),
    advanced("tls.serverName", "Name that the certificate must show", "word"),
    advanced("username", "User name before the host", "word"),
    advanced("realname", "Name that others see", "line"),
    advanced("sasl.mechanism", "PLAIN or EXTERNAL", "word"),
    advanced("sasl.account", "Account name for SASL", "word"),
    advanced("nickserv.service", "Name of the nickname service", "word"),
    advanced("nickserv.account", "Account name for the nickname service", "word"),
    advanced("nickserv.recover", "How a taken nickname is asked back", "word"),
    advanced("pace.perSecond", "Lines per second that the network accepts", "integer"),
    advanced("pace.burst", "Lines at once that the network accepts", "integer"),
    advanced("withoutCaps", "IRCv3 capabilities not to be used", "list", { max_bytes: 2_048 }),
    advanced("membership", "Whose joins, parts and quits are events: all, own or none", "word"),
    advanced("encoding", "Encoding of lines that are not UTF-8, such as windows-1251", "word"),
    advanced("followForwards", "Stay in the channel that a server forwards to: true or false", "boolean"),
    advanced("maxLines", "A message of more lines is refused", "integer"),
  ],
};
