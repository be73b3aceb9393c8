import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { Frames } from "./frames.ts";

test("a frame is put when its reader takes it, and not when nobody reads", async () => {
  const frames = new Frames();
  expect(await frames.put("one", 20)).toBe(false);
  const taken: unknown[] = [];
  frames.on("data", (frame) => taken.push(frame));
  expect(await frames.put("two", 60_000)).toBe(true);
  expect(taken).toEqual(["one", "two"]);
});

test("the last words come after what was put, then the end", async () => {
  const frames = new Frames();
  await frames.put("one", 5);
  frames.end("last");
  const all: unknown[] = [];
  for await (const frame of frames) all.push(frame);
  expect(all).toEqual(["one", "last"]);
});

test("a reader that leaves ends the waiting at once", async () => {
  const frames = new Frames();
  const sink = new PassThrough({ highWaterMark: 1 });
  frames.pipe(sink);
  await frames.put("fills it", 60_000);
  const waiting = (async () => {
    for (;;) if (!(await frames.put("more", 60_000))) return "left";
  })();
  frames.destroy();
  expect(await waiting).toBe("left");
});
