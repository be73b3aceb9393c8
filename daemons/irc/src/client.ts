/**
 * One connection to a server: irc-framework for the handshake, raw lines for everything else.
 *
 * The library negotiates capabilities, authenticates, reads ISUPPORT, answers PING and parses lines. It is shown
 * only the lines it needs for that: its batches lose labels and grow without bound, its timers know nothing of a
 * reader that is paused, and its own reconnecting gives up after three tries.
 */
import { Client, type IrcMessage, ircLineParser } from "irc-framework";
import type { Line } from "./inbound.ts";
import type { ServerFacts } from "./conversation.ts";
import { caseMappingOf } from "./wire/casemapping.ts";
import { type Endpoint, LineSocket } from "./wire/line-socket.ts";

export interface ClientOptions {
  readonly endpoint: Endpoint;
  readonly nick: string;
  readonly username: string;
  readonly realname: string;
  /** PASS of the server. */
  readonly serverPassword: string | undefined;
  readonly sasl:
    | { readonly mechanism: "PLAIN"; readonly account: string; readonly password: string }
    | { readonly mechanism: "EXTERNAL" }
    | undefined;
  readonly withoutCaps: readonly string[];
}

export interface ClientHandlers {
  readonly onLine: (line: Line) => void;
  /** SASL was refused (`final`) or is not offered; `why` is for people. The connection is still there. */
  readonly onLoginFailed: (why: string, final: boolean) => void;
  /** Once, at the end; undefined when it was closed without an error. */
  readonly onClose: (error: Error | undefined) => void;
}

/** Capabilities beyond what irc-framework asks for by itself. */
const CAPS: readonly string[] = [
  "echo-message",
  "labeled-response",
  "chghost",
  "setname",
  "standard-replies",
  "draft/message-redaction",
  "draft/chathistory",
  "chathistory",
];

/** What the library handles; the rest is ours. */
const LIBRARY: ReadonlySet<string> = new Set(
  "CAP AUTHENTICATE PING 001 005 900 901 902 903 904 905 906 907 908".split(" "),
);

const SASL_FAILURES: Readonly<Record<string, string>> = {
  fail: "wrong account or password",
  unsupported_mechanism: "the server does not offer this SASL mechanism",
  capability_missing: "the server does not offer SASL",
  nick_locked: "the nickname is locked",
  too_long: "the password is too long",
};

export class IrcClient {
  readonly #library = new Client();
  readonly #socket: LineSocket;
  #facts: ServerFacts = { caseMapping: "rfc1459", channelTypes: "#&", statusPrefixes: "" };

  constructor(options: ClientOptions, handlers: ClientHandlers) {
    const wanted = (cap: string): boolean => !options.withoutCaps.includes(cap);
    const socket = new LineSocket(options.endpoint, (text) => {
      const line = parseLine(text);
      if (line === undefined) return;
      if (LIBRARY.has(line.command) && line.tags["batch"] === undefined) {
        socket.emit("line", withoutUnwanted(text, line, wanted));
      }
      if (line.command === "005") this.#learn();
      handlers.onLine(line);
    });
    this.#socket = socket;
    socket.once("close", (error: Error | false) => handlers.onClose(error === false ? undefined : error));
    const library = this.#library;
    library.requestCap(CAPS.filter(wanted));
    library.on("sasl failed", ({ reason }: { reason: string }) => {
      const isOffered = reason !== "unsupported_mechanism" && reason !== "capability_missing";
      handlers.onLoginFailed(SASL_FAILURES[reason] ?? reason, isOffered);
    });
    library.connect({
      nick: options.nick,
      username: options.username,
      gecos: options.realname,
      // An empty account keeps the library from trying the server's password as one.
      account: options.sasl?.mechanism === "PLAIN" ? options.sasl : {},
      ...(options.sasl !== undefined && { sasl_mechanism: options.sasl.mechanism }),
      ...(options.serverPassword !== undefined && { password: options.serverPassword }),
      enable_echomessage: false,
      auto_reconnect: false,
      ping_interval: 0,
      ping_timeout: 0,
      transport: function transport() {
        return socket;
      },
    });
  }

  has(cap: string): boolean {
    return this.#library.network.cap.isEnabled(cap);
  }

  /** What the mappings must know of the server. */
  get facts(): ServerFacts {
    return this.#facts;
  }

  /** Whether the server keeps a history that can be asked for. */
  get hasHistory(): boolean {
    return this.has("draft/chathistory") || this.has("chathistory");
  }

  /** An ISUPPORT token's value as the server wrote it, lists apart: text, `""` where it stands alone, undefined where the server does not name it. */
  token(name: string): string | undefined {
    const value = this.#library.network.options[name];
    if (value === undefined || value === true) return value === true ? "" : undefined;
    return Array.isArray(value) ? value.join("") : String(value);
  }

  /** Whether the server relays a client's tag of this name (ISUPPORT `CLIENTTAGDENY`). */
  relaysTag(name: string): boolean {
    return this.#library.network.supportsTag(name);
  }

  /** Symbols before nicknames in NAMES, such as `@+`. */
  get memberPrefixes(): string {
    const prefixes = this.#library.network.options["PREFIX"] as readonly { readonly symbol: string }[];
    return prefixes.map(({ symbol }) => symbol).join("");
  }

  get pendingBytes(): number {
    return this.#socket.pendingBytes;
  }

  get paused(): boolean {
    return this.#socket.paused;
  }

  /** @throws TypeError for a line that holds a line end or NUL */
  write(line: string, written?: () => void): void {
    this.#socket.writeLine(line, written);
  }

  flushed(): Promise<void> {
    return this.#socket.flushed();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Says goodbye and closes. */
  quit(reason: string): void {
    this.#socket.writeLine(`QUIT :${reason}`, () => this.#socket.close());
  }

  #learn(): void {
    this.#facts = {
      caseMapping: caseMappingOf(this.token("CASEMAPPING")),
      channelTypes: this.token("CHANTYPES") ?? "#&",
      statusPrefixes: this.token("STATUSMSG") ?? "",
    };
  }

  /** Closes at once; what was not written is not written. */
  destroy(error?: Error): void {
    if (error === undefined) this.#socket.disposeSocket();
    else this.#socket.fail(error);
  }
}

/** One line of a server; undefined for one that says nothing. */
export function parseLine(text: string): Line | undefined {
  const message = ircLineParser(text);
  return message === undefined || message.command === "" ? undefined : lineOf(message);
}

function lineOf({ tags, prefix, nick, ident, hostname, command, params }: IrcMessage): Line {
  return { tags, prefix, nick, user: ident, host: hostname, command, params };
}

/** A capability that is not wanted is not shown to the library, which would ask for it. */
function withoutUnwanted(text: string, message: Line, wanted: (cap: string) => boolean): string {
  if (message.command !== "CAP") return text;
  const offered = message.params.at(-1) ?? "";
  const kept = offered
    .split(" ")
    .filter((cap) => wanted(cap.split("=")[0] ?? cap))
    .join(" ");
  if (kept === offered) return text;
  return [`:${message.prefix}`, "CAP", ...message.params.slice(0, -1), `:${kept}`].join(" ");
}
