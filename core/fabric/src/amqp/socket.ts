/** What amqplib keeps to itself: the socket under a connection, at `connection.stream`. */
import { Duplex } from "node:stream";
import type { ChannelModel } from "amqplib";

/**
 * amqplib writes every frame by itself, and each would be a system call and, without Nagle's delay, a
 * packet. What is written within one turn of the event loop goes out together.
 */
export function corkEachTurn(model: ChannelModel): void {
  const socket = socketOf(model);
  if (socket === undefined) return;
  const write: typeof socket.write = socket.write.bind(socket);
  let corked = false;
  const uncork = (): void => {
    corked = false;
    socket.uncork();
  };
  Object.defineProperty(socket, "write", {
    writable: true, // Node replaces it when the peer has ended
    configurable: true,
    value: (chunk: Uint8Array): boolean => {
      if (!corked) {
        corked = true;
        socket.cork();
        process.nextTick(uncork);
      }
      return write(chunk);
    },
  });
}

/** Without a farewell. */
export function destroySocket(model: ChannelModel): void {
  socketOf(model)?.destroy();
}

function socketOf({ connection }: ChannelModel): Duplex | undefined {
  const socket: unknown = Reflect.get(connection, "stream");
  return socket instanceof Duplex ? socket : undefined;
}
