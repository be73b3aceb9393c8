/**
 * One connection to a server: irc-framework for the handshake, raw lines for everything else.
 *
 * The library negotiates capabilities, authenticates and parses lines. It is shown only the lines it needs for that:
 * its batches lose labels and grow without bound, its timers know nothing of a reader that is paused, its own
 * reconnecting gives up after three tries, and forms that it does not expect are exceptions in it.
 */
import { Client, type IrcMessage, ircLineParser } from "irc-framework";
import type { Line } from "./inbound.ts";
import type { ServerFacts } from "./conversation.ts";
import { CapabilityRequests } from "./wire/capability-requests.ts";
import { Isupport } from "./wire/isupport.ts";
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
  /** SASL, or the mechanism, is not offered; `why` is for people. The connection is still there. */
  readonly onLoginMissing: (why: string) => void;
  /** The connection is not encrypted, and the server asks for that (`sts`); nothing more is sent on it. */
  readonly onTlsWanted: (port: number | undefined) => void;
  /** A line that could not be read, or that the library failed on; it is skipped. */
  readonly onOdd: (command: string, error: unknown) => void;
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
  // Without it servers turn joins and parts of a history into messages of a service.
  "draft/event-playback",
];

/** Commands that the library handles; we handle the others. */
const LIBRARY: ReadonlySet<string> = new Set(
  "CAP AUTHENTICATE 001 900 901 902 903 904 905 906 907 908".split(" "),
);

/** Capabilities of a server that the library is told of: it keeps all of them, and a server can offer new ones for ever. */
const MAX_OFFERED = 200;

const LOGIN_MISSING: Readonly<Record<string, string>> = {
  unsupported_mechanism: "the server does not offer this SASL mechanism",
  capability_missing: "the server does not offer SASL",
};

export class IrcClient {
  readonly #library = new Client();
  readonly #socket: LineSocket;
  readonly #isupport = new Isupport();
  readonly #requests = new CapabilityRequests({
    requested: () => this.#library.network.cap.requested,
    write: (line) => this.write(line),
  });
  readonly #handlers: ClientHandlers;
  readonly #isPlain: boolean;
  #facts: ServerFacts = { caseMapping: "rfc1459", channelTypes: "#&", statusPrefixes: "" };

  constructor(options: ClientOptions, handlers: ClientHandlers) {
    const wanted = wantedCaps(options.withoutCaps);
    this.#handlers = handlers;
    this.#isPlain = options.endpoint.tls === undefined;
    const socket = new LineSocket(options.endpoint, (text) => this.#read(text, wanted));
    this.#socket = socket;
    socket.once("close", (error: Error | false) => handlers.onClose(error === false ? undefined : error));
    const library = this.#library;
    library.requestCap(CAPS.filter(wanted));
    // The other reasons are numerics, which our handlers see themselves.
    library.on("sasl failed", ({ reason }: { reason: string }) => {
      const why = LOGIN_MISSING[reason];
      if (why !== undefined) handlers.onLoginMissing(why);
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

  /** Facts about the server that the mappings need. */
  get facts(): ServerFacts {
    return this.#facts;
  }

  /** Whether the server keeps a history that can be asked for. */
  get hasHistory(): boolean {
    return this.has("draft/chathistory") || this.has("chathistory");
  }

  /** The ISUPPORT tokens of the server. */
  get isupport(): Isupport {
    return this.#isupport;
  }

  /** Whether the server relays a client's tag of this name. */
  relaysTag(name: string): boolean {
    return this.has("message-tags") && this.#isupport.relaysTag(name);
  }

  get pendingBytes(): number {
    return this.#socket.pendingBytes;
  }

  get paused(): boolean {
    return this.#socket.paused;
  }

  /** Never throws; a line that holds a line end or NUL ends the connection. */
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

  #read(text: string, wanted: (cap: string) => boolean): void {
    let line: Line | undefined;
    try {
      line = parseLine(text, this.#facts.serverName);
      if (line === undefined) return;
      if (LIBRARY.has(line.command) && line.tags["batch"] === undefined) this.#show(text, line, wanted);
    } catch (error) {
      this.#handlers.onOdd(line?.command ?? "", error);
      if (line === undefined) return;
    }
    if (line.command === "PING") this.#pong(line);
    if (line.command === "001" || line.command === "005") this.#learn(line);
    this.#handlers.onLine(line);
  }

  #show(text: string, line: Line, wanted: (cap: string) => boolean): void {
    const sts = this.#isPlain && line.command === "CAP" ? offered(line, "sts") : undefined;
    if (sts !== undefined) {
      const [, port] = /(?:^|,)port=(\d{1,5})(?:,|$)/.exec(sts) ?? [];
      this.#handlers.onTlsWanted(port === undefined ? undefined : Number(port));
      return;
    }
    if (line.command !== "CAP" || !/^(?:ACK|NAK)$/i.test(line.params[1] ?? "")) {
      this.#socket.emit("line", withoutUnwanted(text, line, wanted));
      return;
    }
    for (const params of this.#requests.see(line)) {
      const [last = "", ...before] = params.toReversed();
      this.#socket.emit("line", [`:${line.prefix}`, "CAP", ...before.toReversed(), `:${last}`].join(" "));
    }
  }

  /** With a colon, as the argument may hold blanks or begin with one. */
  #pong({ params }: Line): void {
    this.write(`PONG :${params.at(-1) ?? ""}`);
  }

  #learn({ command, params, prefix }: Line): void {
    if (command === "005") this.#isupport.see(params.slice(1, params.length > 2 ? -1 : undefined));
    const serverName = command === "001" && !/[!@]/.test(prefix) ? prefix : this.#facts.serverName;
    const { caseMapping, channelTypes, statusPrefixes } = this.#isupport;
    this.#facts = { caseMapping, channelTypes, statusPrefixes, ...(serverName && { serverName }) };
    if (this.#isupport.token("UTF8ONLY") !== undefined) this.#socket.onlyUtf8();
  }

  /** Closes at once; what was not written is not written. */
  destroy(error?: Error): void {
    if (error === undefined) this.#socket.disposeSocket();
    else this.#socket.fail(error);
  }
}

/**
 * One line of a server; undefined for one without a meaning.
 *
 * @param serverName who speaks without being a person, though its name has no dot, such as `localhost`
 */
export function parseLine(text: string, serverName?: string): Line | undefined {
  const message = ircLineParser(text);
  return message === undefined || message.command === "" ? undefined : lineOf(message, serverName);
}

function lineOf(message: IrcMessage, serverName: string | undefined): Line {
  const { tags, prefix, ident: user, command, params } = message;
  const isServer = prefix !== "" && prefix === serverName;
  const [nick, host] = isServer ? ["", prefix] : [message.nick, message.hostname];
  return { tags, prefix, nick, user, host, command, params };
}

/** Value of a capability that a line of CAP LS or CAP NEW offers; undefined where it does not. */
function offered({ params }: Line, name: string): string | undefined {
  if (!/^(?:LS|NEW)$/i.test(params[1] ?? "")) return undefined;
  const caps = (params.at(-1) ?? "").split(" ");
  const found = caps.find((cap) => cap === name || cap.startsWith(`${name}=`));
  return found?.slice(name.length + 1);
}

/** Which capabilities a server's library is told of: those that may be used, as they come, up to a number of them. */
export function wantedCaps(without: readonly string[]): (cap: string) => boolean {
  const offered = new Set<string>();
  return (cap) => {
    if (offered.size < MAX_OFFERED) offered.add(cap);
    return offered.has(cap) && !without.includes(cap);
  };
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
