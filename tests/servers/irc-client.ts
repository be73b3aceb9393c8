/** The smallest IRC client: raw lines in, raw lines out. It shares no code with what it tests. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { connect as connectTls } from "node:tls";
import { until } from "./until.ts";

export interface IrcClientOptions {
  readonly port: number;
  readonly nick: string;
  /** Asked for before registration. */
  readonly capabilities?: readonly string[];
  /** Connects with TLS and trusts this authority. */
  readonly ca?: string;
}

export class IrcClient implements Disposable {
  readonly nick: string;
  /** Every line received so far but PINGs, without line ends. */
  readonly lines: string[] = [];
  readonly #socket: Socket;
  #closed = false;

  private constructor(nick: string, socket: Socket) {
    this.nick = nick;
    this.#socket = socket;
    socket.on("close", () => {
      this.#closed = true;
    });
    socket.on("error", () => undefined); // `close` follows
    const lines = createInterface({ input: socket });
    lines.on("error", () => undefined); // it repeats the socket's
    lines.on("line", (line) => {
      if (line.startsWith("PING")) this.say(`PONG ${line.slice(5)}`);
      else this.lines.push(line);
    });
  }

  /** Resolves when registered; rejects with what the server said when it refuses. */
  static async connect(options: IrcClientOptions): Promise<IrcClient> {
    const { port, nick, capabilities = [], ca } = options;
    const socket =
      ca === undefined ? connect({ host: "127.0.0.1", port }) : connectTls({ host: "localhost", port, ca });
    await once(socket, ca === undefined ? "connect" : "secureConnect");
    const client = new IrcClient(nick, socket);
    if (capabilities.length > 0) client.say(`CAP REQ :${capabilities.join(" ")}`);
    client.say(`NICK ${nick}`, `USER ${nick} 0 * :${nick}`);
    if (capabilities.length > 0) client.say("CAP END");
    const answer = await client.expect(/^(@\S+ )?:\S+ (001|4\d\d) |^ERROR /).catch((cause: unknown) => {
      throw new Error(`${nick} was not registered: ${client.lines.join("\n")}`, { cause });
    });
    if (!/ 001 /.test(answer)) {
      client[Symbol.dispose]();
      throw new Error(`${nick} was not registered: ${client.lines.join("\n")}`);
    }
    return client;
  }

  get closed(): boolean {
    return this.#closed;
  }

  say(...lines: string[]): void {
    this.#socket.write(lines.map((line) => `${line}\r\n`).join(""));
  }

  /** The first line, already here or still to come, that matches. */
  async expect(pattern: RegExp, timeoutMs = 15_000): Promise<string> {
    const find = (): string | undefined => {
      const line = this.lines.find((candidate) => pattern.test(candidate));
      if (line === undefined && this.#closed) throw new Error(`closed while waiting for ${pattern}`);
      return line;
    };
    return await until(find, { what: `${this.nick} to see ${pattern}`, timeoutMs });
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}
