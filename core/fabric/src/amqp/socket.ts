/** A part of amqplib that is not in its interface: the socket under a connection, at `connection.stream`. */
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

/** The most that properties and headers of one message may take; ours take less than 9,000 bytes. */
const MAX_HEADER_BYTES = 12_288;
const HEADER_FRAME = 2;
/** Type, channel and size; then class, weight and body size; then the properties. */
const [PAYLOAD_AT, PROPERTIES_AT, END_BYTES] = [7, 19, 1];

/**
 * amqplib decodes headers recursively and ends the connection when that fails: one message with tables nested a
 * few thousand deep would end every connection that it is delivered to, for ever. Its properties are left out
 * before they are decoded; what is left of it is refused like any other message without them.
 */
export function dropHugeHeaders({ connection }: ChannelModel): void {
  const receive: unknown = Reflect.get(connection, "recvFrame");
  if (typeof receive !== "function") return;
  Reflect.set(connection, "recvFrame", (): unknown => {
    const received: unknown = Reflect.get(connection, "rest");
    if (Buffer.isBuffer(received)) {
      const harmless = withoutHugeHeader(received);
      if (harmless !== received) Reflect.set(connection, "rest", harmless);
    }
    return Reflect.apply(receive, connection, []) as unknown;
  });
}

/** @param received begins with a frame, perhaps an incomplete one */
export function withoutHugeHeader(received: Buffer): Buffer {
  if (received.length < PAYLOAD_AT || received[0] !== HEADER_FRAME) return received;
  const size = received.readUInt32BE(3);
  const end = PAYLOAD_AT + size + END_BYTES;
  if (size <= MAX_HEADER_BYTES || received.length < end) return received;
  const head = Buffer.from(received.subarray(0, PROPERTIES_AT + 2));
  head.writeUInt32BE(PROPERTIES_AT + 2 - PAYLOAD_AT, 3);
  head.writeUInt16BE(0, PROPERTIES_AT); // no property is present
  return Buffer.concat([head, received.subarray(end - END_BYTES)]);
}

/** Without the closing handshake. */
export function destroySocket(model: ChannelModel): void {
  socketOf(model)?.destroy();
}

function socketOf({ connection }: ChannelModel): Duplex | undefined {
  const socket: unknown = Reflect.get(connection, "stream");
  return socket instanceof Duplex ? socket : undefined;
}
