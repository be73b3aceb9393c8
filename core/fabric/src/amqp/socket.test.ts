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

test("amqplib gets to read what is left", () => {
  const connection = { rest: headerFrame(40_000), recvFrame: () => connection.rest.length };
  dropHugeHeaders({ connection } as unknown as ChannelModel);
  expect(connection.recvFrame()).toBe(22);
});
