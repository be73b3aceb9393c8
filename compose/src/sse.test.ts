import fc from "fast-check";
import { expect, test } from "vitest";
import { parseEvents, type StreamEvent } from "./sse.ts";

async function parse(...chunks: Uint8Array[]): Promise<StreamEvent[]> {
  const body = (async function* () {
    yield* chunks;
  })();
  const events: StreamEvent[] = [];
  for await (const event of parseEvents(body)) events.push(event);
  return events;
}

const bytes = (text: string) => Buffer.from(text, "utf8");

const STREAM =
  "\uFEFFretry: 1000\n\n" +
  ":\n\n" +
  'id: 7\ndata: {"a":1}\n\n' +
  "event: gone\r\ndata: one\r\ndata:two\r\ndata\r\n\r\n" +
  "id: 8\r\rdata: grüß 😀\n\n" +
  "data: cut off";

const EVENTS = [
  { id: "7", event: "message", data: '{"a":1}' },
  { id: "7", event: "gone", data: "one\ntwo\n" },
  { id: "8", event: "message", data: "grüß 😀" },
];

test("fields, comments, line ends of all three kinds; what the end cut off is dropped", async () => {
  expect(await parse(bytes(STREAM))).toEqual(EVENTS);
});

test("however the bytes are cut into chunks, the events are the same", async () => {
  const all = bytes(STREAM);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat({ max: all.length })), async (cuts) => {
      const at = [0, ...cuts.toSorted((a, b) => a - b), all.length];
      const chunks = at.slice(1).map((end, index) => all.subarray(at[index], end));
      expect(await parse(...chunks)).toEqual(EVENTS);
    }),
  );
});

test("an id with NUL in it is none", async () => {
  expect(await parse(bytes("id: a\0b\ndata: x\n\n"))).toEqual([
    { id: undefined, event: "message", data: "x" },
  ]);
});
