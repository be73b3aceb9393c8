/**
 * Ports below Linux's ephemeral range, so that no outgoing connection takes one while its server is down.
 * A port is held by a UDP socket of the same number: other workers cannot reserve it, the TCP side stays
 * free for the server, and the kernel lets go of it whatever way this process ends.
 */
import { createSocket } from "node:dgram";
import { createServer } from "node:net";

const LOWEST = 15_000;
const HIGHEST = 31_999;
const ATTEMPTS = 200;

export interface Port {
  readonly number: number;
  release(): void;
}

function hold(number: number): Promise<Port | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket("udp4");
    socket.once("error", () => {
      socket.close();
      resolve(undefined);
    });
    socket.bind({ address: "127.0.0.1", port: number, exclusive: true }, () => {
      socket.unref();
      resolve({ number, release: () => socket.close() });
    });
  });
}

function isFree(number: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host: "127.0.0.1", port: number, exclusive: true }, () => {
      server.close(() => resolve(true));
    });
  });
}

/** A loopback TCP port that no other test process is given until it is released. */
export async function reservePort(): Promise<Port> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const number = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST + 1));
    const port = await hold(number);
    if (port === undefined) continue;
    if (await isFree(number)) return port;
    port.release();
  }
  throw new Error(`no free port between ${LOWEST} and ${HIGHEST} after ${ATTEMPTS} attempts`);
}
