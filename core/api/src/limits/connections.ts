/**
 * Limits connections per address, because one address that holds all connections would block everybody else.
 */
import type { Server } from "node:http";
import type { Socket } from "node:net";
import { clientOf } from "./client-address.ts";
import { Places } from "./places.ts";

export interface ConnectionLimits {
  readonly connections: number;
  readonly connectionsPerAddress: number;
  /** Whether the address is a proxy; its connections are shared by many clients. */
  readonly isProxy: (address: string | undefined) => boolean;
}

const REFUSAL =
  "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/** Refuses connections over the limit before anything is read from them. */
export function boundConnections(server: Server, limits: ConnectionLimits): void {
  const places = new Places(limits.connections);
  // One more than the limit, so that the last one can be told why it is refused.
  server.maxConnections = limits.connections + 1;
  server.on("connection", (socket: Socket) => {
    const { remoteAddress } = socket;
    const mine: ReadonlyMap<string, number> = limits.isProxy(remoteAddress)
      ? new Map()
      : new Map([[clientOf({ ip: remoteAddress ?? "", socket }), limits.connectionsPerAddress]]);
    const release = places.take(mine);
    if (release !== undefined) {
      socket.once("close", release);
      return;
    }
    socket.on("error", () => undefined); // the client may close it before it is told
    socket.end(REFUSAL, () => socket.destroy());
  });
}
