import { randomBytes } from "node:crypto";
import { isFabricError } from "@linkspan/envelopes";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type Binding,
  CHUNK_BYTES,
  newObject,
  open,
  type Range,
  seal,
  sealedBytes,
  sealedRange,
} from "./sealing.ts";

const KEY = randomBytes(32);
const SEALED_CHUNK = CHUNK_BYTES + 16;

function bindingOf(workspaceId = "ws1"): Binding {
  return { workspaceId, object: newObject() };
}

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

async function gathered(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const piece of source) parts.push(Buffer.from(piece));
  return Buffer.concat(parts);
}

const sealed = (binding: Binding, plain: Uint8Array, size = 10_007) =>
  gathered(seal(KEY, binding, pieces(plain, size)));

function opened(
  binding: Binding,
  bytes: number,
  stored: Uint8Array,
  range: Range = { from: 0, to: bytes - 1 },
  key = KEY,
): Promise<Buffer> {
  const { from, to } = bytes === 0 ? { from: 0, to: 15 } : sealedRange(bytes, range);
  return gathered(open(key, binding, bytes, range, pieces(stored.subarray(from, to + 1), 9_001)));
}

/** What was given before the fault, and the code of the fault. */
async function until(attempt: AsyncIterable<Uint8Array>): Promise<{ got: number; code: string }> {
  let got = 0;
  try {
    for await (const piece of attempt) got += piece.byteLength;
    return { got, code: "opened" };
  } catch (error) {
    if (isFabricError(error)) return { got, code: error.code };
    throw error;
  }
}

test.each([0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])(
  "%i bytes come back, and have the size that was foretold",
  async (size) => {
    const [binding, plain] = [bindingOf(), randomBytes(size)];
    const stored = await sealed(binding, plain);
    expect(stored.byteLength).toBe(sealedBytes(size));
    expect((await opened(binding, size, stored)).equals(plain)).toBe(true);
  },
);

test("any range comes back from the chunks that hold it", async () => {
  const size = 3 * CHUNK_BYTES + 11;
  const [binding, plain] = [bindingOf(), randomBytes(size)];
  const stored = await sealed(binding, plain);
  const position = fc.oneof(
    fc.integer({ min: 0, max: size - 1 }),
    fc.constantFrom(0, CHUNK_BYTES - 1, CHUNK_BYTES, 2 * CHUNK_BYTES, size - 1),
  );
  await fc.assert(
    fc.asyncProperty(position, position, async (a, b) => {
      const range = { from: Math.min(a, b), to: Math.max(a, b) };
      const needed = sealedRange(size, range);
      expect(needed.to - needed.from).toBeLessThan(range.to - range.from + 2 * CHUNK_BYTES + 4 * 16);
      const got = await opened(binding, size, stored, range);
      expect(got.equals(plain.subarray(range.from, range.to + 1))).toBe(true);
    }),
  );
});

test("the sealed bytes show neither the plain ones nor that two objects are equal", async () => {
  const plain = Buffer.alloc(2 * CHUNK_BYTES, "the same text again and again. ");
  const [one, two] = [await sealed(bindingOf(), plain), await sealed(bindingOf(), plain)];
  expect(one.includes("the same text")).toBe(false);
  expect(one.subarray(0, 32).equals(two.subarray(0, 32))).toBe(false);
  expect(one.subarray(0, 32).equals(one.subarray(SEALED_CHUNK, SEALED_CHUNK + 32))).toBe(false);
});

test("no object opens in place of another, in another workspace or with another key", async () => {
  const binding = bindingOf();
  const stored = await sealed(binding, randomBytes(100));
  const attempt = (other: Binding, key = KEY) =>
    until(open(key, other, 100, { from: 0, to: 99 }, pieces(stored, 50)));
  expect(await attempt(binding)).toEqual({ got: 100, code: "opened" });
  expect(await attempt(bindingOf())).toEqual({ got: 0, code: "media.damaged" });
  expect(await attempt({ ...binding, workspaceId: "ws2" })).toEqual({ got: 0, code: "media.damaged" });
  expect(await attempt(binding, randomBytes(32))).toEqual({ got: 0, code: "media.damaged" });
});

test("every changed byte is noticed before its chunk is given", async () => {
  const size = CHUNK_BYTES + 40;
  const [binding, plain] = [bindingOf(), randomBytes(size)];
  const stored = await sealed(binding, plain);
  const places = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, SEALED_CHUNK - 1];
  for (let at = SEALED_CHUNK; at < stored.byteLength; at += 1) places.push(at);
  for (const at of places) {
    const changed = Buffer.from(stored);
    changed[at] = (changed[at] as number) ^ 1;
    const got = await until(open(KEY, binding, size, { from: 0, to: size - 1 }, pieces(changed, 8_192)));
    expect(got).toEqual({ got: at < SEALED_CHUNK ? 0 : CHUNK_BYTES, code: "media.damaged" });
  }
});

test("chunks that are cut off, missing, doubled or exchanged are noticed", async () => {
  const size = 4 * CHUNK_BYTES;
  const binding = bindingOf();
  const stored = await sealed(binding, randomBytes(size));
  const chunk = (n: number) => stored.subarray(n * SEALED_CHUNK, (n + 1) * SEALED_CHUNK);
  const attempt = async (bytes: number, ...parts: Uint8Array[]) =>
    (await until(open(KEY, binding, bytes, { from: 0, to: bytes - 1 }, pieces(Buffer.concat(parts), 7_919))))
      .code;
  expect(await attempt(size, stored)).toBe("opened");
  for (const cut of [1, 15, 16, 17, CHUNK_BYTES, SEALED_CHUNK, SEALED_CHUNK + 1, stored.byteLength]) {
    expect(await attempt(size, stored.subarray(0, stored.byteLength - cut))).toBe("media.damaged");
  }
  // Also when whoever cut it could change the size in the row.
  expect(await attempt(3 * CHUNK_BYTES, chunk(0), chunk(1), chunk(2))).toBe("media.damaged");
  expect(await attempt(size, chunk(1), chunk(0), chunk(2), chunk(3))).toBe("media.damaged");
  expect(await attempt(size, chunk(0), chunk(0), chunk(2), chunk(3))).toBe("media.damaged");
  expect(await attempt(size + CHUNK_BYTES, chunk(0), chunk(1), chunk(2), chunk(3), chunk(3))).toBe(
    "media.damaged",
  );
});

test("an empty object is authenticated, too", async () => {
  const binding = bindingOf();
  const stored = await sealed(binding, Buffer.alloc(0));
  const attempt = async (bytes: Uint8Array) =>
    (await until(open(KEY, binding, 0, { from: 0, to: -1 }, pieces(bytes, 4)))).code;
  expect(await attempt(stored)).toBe("opened");
  expect(await attempt(randomBytes(16))).toBe("media.damaged");
  expect(await attempt(Buffer.alloc(0))).toBe("media.damaged");
});
