import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { expect, test, vi } from "vitest";
import { AmqpBus } from "./bus.ts";

/** A peer that is no broker. @param behave with each connection */
async function peer(behave: (socket: Socket) => void) {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("error", () => undefined).on("close", () => open.delete(socket));
    behave(socket);
  });
  server.listen({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    open,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const PEERS: Record<string, (socket: Socket) => void> = {
  "says nothing": (socket) => socket.resume(),
  "says a little now and then": (socket) => {
    // The head of a frame that never ends: amqplib's own time-out would begin anew with every byte.
    socket.write(Buffer.from([1, 0, 0, 0, 0, 16, 0]));
    const timer = setInterval(() => socket.write(Buffer.from([0])), 20);
    socket.resume().on("close", () => clearInterval(timer));
  },
  "speaks another protocol": (socket) => socket.resume().end("SSH-2.0-x\r\n"),
};

test.for(Object.entries(PEERS))(
  "a peer that %s: connecting ends in time and leaves no socket",
  async ([, behave]) => {
    await using other = await peer(behave);
    for (const scheme of ["amqp", "amqps"]) {
      const startedAt = performance.now();
      const connecting = AmqpBus.connect({
        url: `${scheme}://127.0.0.1:${other.port}`,
        service: "irc",
        bootId: "b",
        connectTimeoutMs: 300,
      });
      await expect(connecting).rejects.toMatchObject({ name: "FabricError" });
      expect(performance.now() - startedAt).toBeLessThan(4_000);
      await vi.waitFor(() => expect(other.open.size).toBe(0), { timeout: 5_000, interval: 5 });
    }
  },
);
