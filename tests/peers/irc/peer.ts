/**
 * The other person on IRC: a client that shares no code with the daemon, and remembers everything it hears, in
 * order, and when the one it talks to came and went.
 */
import { connect, type Socket } from "node:net";

export interface PeerOptions {
  readonly port: number;
  readonly nick: string;
  readonly host?: string;
  /** Asked for before registration; messages then carry tags. */
  readonly capabilities?: readonly string[];
}

/** A line as the server sent it, split. */
export interface PeerLine {
  readonly raw: string;
  readonly tags: ReadonlyMap<string, string>;
  /** Nickname or server before the command. */
  readonly from: string;
  readonly command: string;
  readonly params: readonly string[];
  /** `performance.now()` when it came. */
  readonly atMs: number;
}

export interface Heard {
  readonly from: string;
  readonly target: string;
  readonly text: string;
  readonly command: string;
  readonly atMs: number;
}

/** A nickname came into a channel or went; `channel` is undefined for a QUIT, which leaves all. */
export interface Presence {
  readonly nick: string;
  readonly channel: string | undefined;
  readonly change: "joined" | "left";
  readonly how: string;
  readonly atMs: number;
}

const TIMEOUT_MS = 20_000;

export class IrcPeer implements AsyncDisposable {
  /** Everything received, oldest first. */
  readonly lines: PeerLine[] = [];
  readonly presence: Presence[] = [];
  nick: string;
  readonly #socket: Socket;
  readonly #waiting = new Set<() => void>();
  #rest = "";
  #pings = 0;
  #closed = false;

  private constructor(nick: string, socket: Socket) {
    this.nick = nick;
    this.#socket = socket;
    socket.setEncoding("utf8").setNoDelay(true);
    socket.on("data", (chunk: string) => this.#read(chunk));
    socket.on("error", () => undefined); // `close` follows
    socket.on("close", () => {
      this.#closed = true;
      this.#wake();
    });
  }

  /** Resolves when registered; rejects with what the server said. */
  static async connect({ port, nick, host = "127.0.0.1", capabilities = [] }: PeerOptions): Promise<IrcPeer> {
    const peer = new IrcPeer(nick, connect({ host, port }));
    if (capabilities.length > 0) peer.write(`CAP REQ :${capabilities.join(" ")}`);
    peer.write(`NICK ${nick}`, `USER peer 0 * :${nick}`);
    if (capabilities.length > 0) peer.write("CAP END");
    await peer.expect(({ command }) => command === "001");
    return peer;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** What was said, in channels and to this peer, in the order heard. */
  get heard(): readonly Heard[] {
    return this.lines
      .filter(({ command }) => command === "PRIVMSG" || command === "NOTICE")
      .map(({ from, params: [target = "", text = ""], command, atMs }) => ({
        from,
        target,
        text,
        command,
        atMs,
      }));
  }

  /** Texts that one nickname said in a channel, or to this peer when `target` is its nickname. */
  heardFrom(nick: string, target: string): readonly string[] {
    return this.heard
      .filter((heard) => heard.from === nick && heard.target === target)
      .map(({ text }) => text);
  }

  write(...lines: readonly string[]): void {
    this.#socket.write(lines.map((line) => `${line}\r\n`).join(""));
  }

  /** Says it, and resolves when the bytes have left this process. */
  async say(target: string, ...texts: readonly string[]): Promise<void> {
    const lines = texts.map((text) => `PRIVMSG ${target} :${text}\r\n`).join("");
    await new Promise<void>((resolve) => this.#socket.write(lines, () => resolve()));
  }

  async join(channel: string): Promise<void> {
    const from = this.lines.length;
    this.write(`JOIN ${channel}`);
    await this.expect(({ command, params }) => command === "366" && params[1] === channel, { from });
  }

  /** Resolves when the server has carried out everything written so far. */
  async settled(): Promise<void> {
    this.#pings += 1;
    const token = `peer-${this.#pings}`;
    this.write(`PING :${token}`);
    await this.expect(({ command, params }) => command === "PONG" && params.at(-1) === token);
  }

  /**
   * The first line, already here or still to come, that matches.
   *
   * @param from index into `lines` to start at; default the beginning
   */
  async expect(
    matches: (line: PeerLine) => boolean,
    { from = 0, timeoutMs = TIMEOUT_MS }: { readonly from?: number; readonly timeoutMs?: number } = {},
  ): Promise<PeerLine> {
    let found: PeerLine | undefined;
    await this.until(() => {
      found = this.lines.slice(from).find(matches);
      return found !== undefined;
    }, timeoutMs);
    if (found === undefined) throw new Error("unreachable: the wait ended without a line");
    return found;
  }

  /** Waits for a condition over what was heard; asked again at every line. */
  async until(condition: () => boolean, timeoutMs = TIMEOUT_MS): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!condition()) {
      const leftMs = deadline - performance.now();
      if (leftMs <= 0 || this.#closed) throw new Error(this.#complaint());
      await this.#nextLine(leftMs);
    }
  }

  /** Whether the nickname was in the channel at a moment of `performance.now()`. */
  wasThere(nick: string, channel: string, atMs: number): boolean {
    const last = this.presence
      .filter((one) => one.nick === nick && (one.channel === channel || one.channel === undefined))
      .findLast((one) => one.atMs <= atMs);
    return last?.change === "joined";
  }

  /** When the nickname comes into the channel, or is there already. */
  async sees(nick: string, channel: string, timeoutMs = TIMEOUT_MS): Promise<void> {
    await this.until(() => this.wasThere(nick, channel, performance.now()), timeoutMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    const closed = new Promise((resolve) => this.#socket.once("close", resolve));
    this.#socket.end("QUIT :done\r\n");
    setTimeout(() => this.#socket.destroy(), 500).unref();
    await closed;
  }

  #read(chunk: string): void {
    const atMs = performance.now();
    const lines = (this.#rest + chunk).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const raw of lines) {
      const line = parse(raw.replace(/\r$/, ""), atMs);
      if (line.command === "PING") this.write(`PONG :${line.params.at(-1) ?? ""}`);
      else this.#hear(line);
    }
    this.#wake();
  }

  #hear(line: PeerLine): void {
    this.lines.push(line);
    const { command, from, params, atMs } = line;
    const [first = "", second = ""] = params;
    const note = (nick: string, channel: string | undefined, change: Presence["change"]): void => {
      this.presence.push({ nick, channel, change, how: command, atMs });
    };
    if (command === "JOIN") note(from, first, "joined");
    if (command === "PART") note(from, first, "left");
    if (command === "KICK") note(second, first, "left");
    if (command === "QUIT") note(from, undefined, "left");
    if (command === "NICK" && from === this.nick) this.nick = first;
    if (command === "353") {
      const names = (params[3] ?? "").split(" ").map((name) => name.replace(/^[~&@%+]+/, ""));
      for (const name of names) if (name !== "") note(name, params[2], "joined");
    }
  }

  #nextLine(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      this.#waiting.add(done);
    });
  }

  #wake(): void {
    for (const done of Array.from(this.#waiting)) done();
  }

  #complaint(): string {
    const last = this.lines.slice(-15).map(({ raw }) => raw);
    return `${this.nick} ${this.#closed ? "was disconnected" : "waited in vain"}; last heard:\n${last.join("\n")}`;
  }
}

function parse(raw: string, atMs: number): PeerLine {
  let rest = raw;
  const tags = new Map<string, string>();
  if (rest.startsWith("@")) {
    const [tagged = "", ...after] = rest.split(" ");
    for (const tag of tagged.slice(1).split(";")) {
      const [name = "", value = ""] = tag.split("=");
      tags.set(name, value);
    }
    rest = after.join(" ");
  }
  let from = "";
  if (rest.startsWith(":")) {
    const [source = "", ...after] = rest.split(" ");
    from = source.slice(1).split("!")[0] ?? "";
    rest = after.join(" ");
  }
  const at = rest.indexOf(" :");
  const head = at < 0 ? rest : rest.slice(0, at);
  const [command = "", ...params] = head.split(" ").filter((word) => word !== "");
  if (at >= 0) params.push(rest.slice(at + 2));
  return { raw, tags, from, command: command.toUpperCase(), params, atMs };
}
