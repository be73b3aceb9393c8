import { createRequire } from "node:module";
import { Duplex } from "node:stream";
import type { ChannelModel } from "amqplib";
import { expect, test } from "vitest";
import { dropHugeHeaders, withoutHugeHeader } from "./socket.ts";

/** A content header frame whose properties take so many bytes. */
function headerFrame(propertyBytes: number): Buffer {
  const frame = Buffer.alloc(7 + 12 + propertyBytes + 1, 0x5a);
  frame.writeUInt8(2, 0);
  frame.writeUInt16BE(3, 1);
  frame.writeUInt32BE(12 + propertyBytes, 3);
  frame.writeUInt16BE(60, 7);
  frame.writeUInt16BE(0, 9);
  frame.writeBigUInt64BE(5n, 11);
  frame.writeUInt8(0xce, frame.length - 1);
  return frame;
}

const NEXT = Buffer.from([8, 0, 0, 0, 0, 0, 0, 0xce]);

test("properties of a message that are too large are left out, and what follows is kept", () => {
  const cut = withoutHugeHeader(Buffer.concat([headerFrame(40_000), NEXT]));
  expect(cut.subarray(0, 7).toString("hex")).toBe("0200030000000e");
  expect(cut.readBigUInt64BE(11)).toBe(5n);
  expect(cut.subarray(19).toString("hex")).toBe(`0000ce${NEXT.toString("hex")}`);
});

test("everything else is left as it is: small properties, other frames, and frames that are not complete", () => {
  for (const received of [
    headerFrame(9_000),
    headerFrame(40_000).subarray(0, 39_000),
    headerFrame(40_000).subarray(0, 5),
    NEXT,
    Buffer.alloc(0),
  ]) {
    expect(withoutHugeHeader(received)).toBe(received);
  }
});

/** A header frame whose one header is a list in a list, so many levels deep. */
function nestedFrame(depth: number): Buffer {
  const list = Buffer.alloc(5 * depth);
  for (let level = 0; level < depth; level++) {
    list.writeUInt8(0x41, 5 * level);
    list.writeUInt32BE(list.length - 5 * (level + 1), 5 * level + 1);
  }
  const table = Buffer.concat([Buffer.from([1, 0x61]), list]);
  const frame = headerFrame(2 + 4 + table.length);
  frame.writeUInt16BE(0x20_00, 19); // of the properties, the headers
  frame.writeUInt32BE(table.length, 21);
  table.copy(frame, 25);
  return frame;
}

/** The installed amqplib's own, with a frame that has just arrived. */
function connectionWith(rest: Buffer): { recvFrame(): { readonly id: number; readonly size: number } } {
  const inAmqplib = createRequire(createRequire(import.meta.url).resolve("amqplib"));
  const { Connection } = inAmqplib("./lib/connection.js") as {
    readonly Connection: new (stream: Duplex) => object;
  };
  const connection = new Connection(new Duplex({ read: () => undefined }));
  Object.assign(connection, { rest, maxFrameSize: 131_072 });
  return connection as ReturnType<typeof connectionWith>;
}

test("amqplib reads the frame of a message with headers nested thousands deep, on which it fails by itself", () => {
  const frame = Buffer.concat([nestedFrame(20_000), NEXT]);
  expect(() => connectionWith(frame).recvFrame()).toThrow(RangeError);
  const connection = connectionWith(frame);
  dropHugeHeaders({ connection } as unknown as ChannelModel);
  expect(connection.recvFrame()).toMatchObject({ id: 60, size: 5 });
  expect(connection.recvFrame()).toEqual({ channel: 0 });
  expect(connectionWith(nestedFrame(100)).recvFrame()).toMatchObject({ id: 60, size: 5 });
});
