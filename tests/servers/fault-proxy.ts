/** A TCP proxy on loopback that breaks connections the ways a network does. */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** `up` is from the client to the server. */
export type Direction = "up" | "down";

export interface FaultProxy extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** How many connections are open through it. */
  readonly connections: number;
  /** Ends every fault; connections that were cut stay cut. */
  pass(): void;
  /** Resets every open connection; new ones are accepted. */
  cut(): void;
  /** Resets every open connection and every new one, until `pass`. */
  refuse(): void;
  /** Open and silent: nothing is carried, in one direction or both, until `pass`. */
  stall(...directions: Direction[]): void;
  /** What is open stays open and is never carried again, as behind a firewall that forgot it; new ones work. */
  drop(): void;
  /** Carries everything this much later, in order. */
  delay(afterMs: number): void;
  /** New connections go to this port of the same host. */
  redirect(port: number): void;
}

const CHUNK = 16_384;

class Gate {
  refusing = false;
  delayMs = 0;
  readonly stalled = new Set<Direction>();
  #opened = Promise.withResolvers<void>();

  open(): void {
    this.refusing = false;
    this.delayMs = 0;
    this.stalled.clear();
    this.#opened.resolve();
    this.#opened = Promise.withResolvers<void>();
  }

  /** Resolves when bytes may go in this direction. */
  async enter(direction: Direction): Promise<void> {
    if (this.delayMs > 0) await delay(this.delayMs);
    while (this.stalled.has(direction)) await this.#opened.promise;
  }
}

/** Reads no more than it could write, so a stalled peer fills its own buffers as it would behind a dead link. */
async function carry(
  from: Socket,
  to: Socket,
  direction: Direction,
  gate: Gate,
  isDropped: () => boolean,
): Promise<void> {
  for await (const chunk of from) {
    await gate.enter(direction);
    if (to.destroyed) return;
    if (isDropped()) continue;
    if (!to.write(chunk as Buffer))
      await new Promise<void>((resolve) => to.once("drain", resolve).once("close", resolve));
  }
  await gate.enter(direction);
  if (!isDropped()) to.end();
}

export async function startFaultProxy(target: { host?: string; port: number }): Promise<FaultProxy> {
  const gate = new Gate();
  const dropped = new WeakSet<Socket>();
  let { port } = target;
  const links = new Set<readonly [Socket, Socket]>();

  const server = createServer({ allowHalfOpen: true, highWaterMark: CHUNK }, (client) => {
    if (gate.refusing) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect({ host: target.host ?? "127.0.0.1", port, allowHalfOpen: true });
    const link = [client, upstream] as const;
    links.add(link);
    const end = (): void => {
      links.delete(link);
      for (const socket of link) socket.resetAndDestroy();
    };
    for (const socket of link)
      socket
        .setNoDelay(true)
        .on("error", end)
        .on("close", () => {
          if (client.destroyed && upstream.destroyed) links.delete(link);
        });
    // A reset ends both iterations; `end` has then already told the other side.
    const isDropped = (): boolean => dropped.has(client);
    carry(client, upstream, "up", gate, isDropped).catch(end);
    carry(upstream, client, "down", gate, isDropped).catch(end);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen({ host: "127.0.0.1", port: 0 }, resolve);
  });

  const cut = (): void => {
    for (const link of links) for (const socket of link) socket.resetAndDestroy();
    links.clear();
  };
  return {
    host: "127.0.0.1",
    port: (server.address() as AddressInfo).port,
    get connections() {
      return links.size;
    },
    pass: () => gate.open(),
    cut,
    refuse: () => {
      gate.refusing = true;
      cut();
    },
    stall: (...directions) => {
      for (const direction of directions.length === 0 ? (["up", "down"] as const) : directions) {
        gate.stalled.add(direction);
      }
    },
    drop: () => {
      for (const [client] of links) dropped.add(client);
    },
    redirect: (to) => {
      port = to;
    },
    delay: (afterMs) => {
      gate.delayMs = afterMs;
    },
    [Symbol.asyncDispose]: async () => {
      cut();
      gate.open();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
