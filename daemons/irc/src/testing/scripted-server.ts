/**
 * A server that does what a test says, for what no server on this machine can be made to do: services, labelled
 * batches, histories, netsplits, silence. Registration and PING go by themselves.
 */
import { createServer, type AddressInfo, type Socket } from "node:net";

export interface ScriptOptions {
  /** Offered in CAP LS, such as `sasl=PLAIN`. */
  readonly caps?: readonly string[];
  /** ISUPPORT tokens. */
  readonly tokens?: readonly string[];
  /** Longer nicknames are cut without a message. */
  readonly shortenTo?: number;
  /** The CASEMAPPING it tells; none if null, `rfc1459` if absent. */
  readonly caseMapping?: string | null;
  /** Numerics that end its greeting, `422` if absent. */
  readonly greeting?: readonly string[];
  /** Its name, `irc.test.invalid` if absent. */
  readonly serverName?: string;
  /**
   * Answers a line of the client.
   *
   * @returns true when the script has dealt with it; else the server does as servers do
   */
  readonly on?: (line: string, client: ScriptedClient) => boolean;
}

/** One connection, from the server's side. */
export class ScriptedClient {
  readonly lines: string[] = [];
  nick = "*";
  readonly #socket: Socket;
  readonly #options: ScriptOptions;
  #rest = "";
  #negotiating = false;
  #hasUser = false;
  #greeted = false;

  constructor(socket: Socket, options: ScriptOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.on("error", () => undefined); // `close` follows
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      const lines = (this.#rest + chunk).split("\r\n");
      this.#rest = lines.pop() ?? "";
      for (const line of lines) this.#take(line);
    });
  }

  send(...lines: readonly string[]): void {
    this.#socket.write(lines.map((line) => `${line}\r\n`).join(""));
  }

  /** A numeric to this client. */
  numeric(code: string, rest: string): void {
    this.send(`:${this.#options.serverName ?? "irc.test.invalid"} ${code} ${this.nick} ${rest}`);
  }

  get mask(): string {
    return `${this.nick}!~user@host.test.invalid`;
  }

  /** Stops reading and closes the connection without a message. */
  drop(): void {
    this.#socket.destroy();
  }

  #take(line: string): void {
    this.lines.push(line);
    if (this.#options.on?.(line, this) === true) return;
    const [command = "", ...params] = line.replace(/^@\S+ /, "").split(" ");
    if (command === "CAP") this.#capabilities(params);
    else if (command === "NICK") this.#named(params[0] ?? "");
    else if (command === "USER") this.#hasUser = true;
    else if (command === "PING") this.send(`:irc.test.invalid PONG irc.test.invalid ${params.join(" ")}`);
    else if (command === "JOIN") for (const channel of (params[0] ?? "").split(",")) this.#join(channel);
    else if (command === "QUIT") this.#socket.end("ERROR :Closing Link: (goodbye)\r\n");
    this.#greet();
  }

  #named(given: string): void {
    const nick = given.slice(0, this.#options.shortenTo);
    if (this.#greeted) this.send(`:${this.mask} NICK :${nick}`);
    this.nick = nick;
  }

  #capabilities([verb, ...rest]: readonly string[]): void {
    const { caps = [] } = this.#options;
    if (verb === "LS") {
      this.#negotiating = true;
      this.send(`:irc.test.invalid CAP * LS :${caps.join(" ")}`);
    } else if (verb === "REQ") this.send(`:irc.test.invalid CAP * ACK ${rest.join(" ")}`);
    else if (verb === "END") this.#negotiating = false;
  }

  #join(channel: string): void {
    this.send(`:${this.mask} JOIN ${channel}`);
    this.numeric("353", `= ${channel} :${this.nick} bob`);
    this.numeric("366", `${channel} :End of /NAMES list.`);
  }

  #greet(): void {
    if (this.#greeted || this.#negotiating || !this.#hasUser || this.nick === "*") return;
    this.#greeted = true;
    const { tokens = [], caseMapping = "rfc1459", greeting = ["422"] } = this.#options;
    const all = [...(caseMapping === null ? [] : [`CASEMAPPING=${caseMapping}`]), "CHANTYPES=#", ...tokens];
    this.numeric("001", `:Welcome ${this.mask}`);
    this.numeric("005", `${all.join(" ")} :are supported by this server`);
    for (const numeric of greeting) this.numeric(numeric, ":MOTD File is missing");
  }
}

export class ScriptedServer implements AsyncDisposable {
  readonly clients: ScriptedClient[] = [];
  readonly #server;
  readonly #sockets = new Set<Socket>();

  private constructor(options: ScriptOptions | (() => ScriptOptions)) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
      this.clients.push(new ScriptedClient(socket, typeof options === "function" ? options() : options));
    });
  }

  /** @param options of every connection, or of the next one, asked when it is made */
  static async listen(options: ScriptOptions | (() => ScriptOptions) = {}): Promise<ScriptedServer> {
    const server = new ScriptedServer(options);
    await new Promise<void>((resolve) => server.#server.listen({ host: "127.0.0.1", port: 0 }, resolve));
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The latest connection. */
  get client(): ScriptedClient {
    const client = this.clients.at(-1);
    if (client === undefined) throw new Error("nobody has connected");
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
