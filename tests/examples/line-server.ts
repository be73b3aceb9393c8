/** The made-up chat server that examples/daemon.ts speaks to: one room, ids that grow, every line kept. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";

interface Line {
  readonly id: number;
  readonly name: string;
  readonly text: string;
}

export class LineServer implements AsyncDisposable {
  readonly said: Line[] = [];
  readonly #clients = new Map<Socket, string>();
  readonly #server = createServer((socket) => {
    socket.on("error", () => undefined).on("close", () => this.#clients.delete(socket));
    createInterface({ input: socket }).on("line", (line) => this.#onLine(socket, line));
  });

  static async start(): Promise<LineServer> {
    const server = new LineServer();
    server.#server.listen(0, "127.0.0.1");
    await once(server.#server, "listening");
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Somebody says something; all clients hear it, and `by` hears its key with it. */
  say(name: string, text: string, by?: { readonly socket: Socket; readonly key: string }): void {
    const line = { id: this.said.length + 1, name, text };
    this.said.push(line);
    for (const socket of this.#clients.keys()) tell(socket, line, socket === by?.socket ? by.key : undefined);
  }

  /** Cuts all connections, as a network does. */
  cut(): void {
    for (const socket of this.#clients.keys()) socket.destroy();
  }

  #onLine(socket: Socket, line: string): void {
    const [verb, first = "", second = ""] = line.split("\t");
    if (verb === "HELLO") {
      for (const missed of this.said.slice(Number(second))) tell(socket, missed);
      this.#clients.set(socket, first);
    } else if (verb === "SAY") this.say(this.#clients.get(socket) ?? "?", second, { socket, key: first });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }
}

function tell(socket: Socket, { id, name, text }: Line, key?: string): void {
  socket.write(`${[id, name, text, ...(key === undefined ? [] : [key])].join("\t")}\n`);
}
