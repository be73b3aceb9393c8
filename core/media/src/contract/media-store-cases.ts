/**
 * The conformance suite of `MediaStore`: each case rejects when a driver violates the obligation in the case's name.
 */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { isFabricError } from "@linkspan/envelopes";
import type { MediaStore } from "../media-store.ts";
import { newObject } from "../sealing.ts";

export interface MediaStoreCase {
  readonly name: string;
  run(store: MediaStore): Promise<void>;
}

const MIB = 1_048_576;
/** Larger than what a driver gathers or sends in one piece. */
const LARGE = 20 * MIB + 7;

export const mediaStoreCases: readonly MediaStoreCase[] = [
  {
    name: "gives back the bytes that it was given, whatever their sizes",
    async run(store) {
      for (const size of [0, 1, 65_551, LARGE]) {
        const [object, bytes] = [newObject(), randomBytes(size)];
        await store.put(object, pieces(bytes, 100_003));
        assert.equal(await store.size(object), size);
        if (size > 0) assert.equal(digest(await read(store, object, 0, size - 1)), digest(bytes));
      }
    },
  },
  {
    name: "reads any range, its ends included",
    async run(store) {
      const [object, bytes] = [newObject(), randomBytes(700_001)];
      await store.put(object, pieces(bytes, 65_552));
      for (const [from, to] of [
        [0, 0],
        [1, 262_145],
        [262_144, 700_000],
        [700_000, 700_000],
      ] as const) {
        assert.deepEqual(await read(store, object, from, to), bytes.subarray(from, to + 1));
      }
    },
  },
  {
    name: "shows nothing of an object before its put has ended",
    async run(store) {
      const object = newObject();
      const seen: (number | undefined)[] = [];
      const source = async function* () {
        for (let sent = 0; sent < LARGE; sent += MIB) {
          yield randomBytes(MIB);
          seen.push(await store.size(object));
        }
      };
      await store.put(object, source());
      assert.deepEqual(new Set(seen), new Set([undefined]));
      assert.notEqual(await store.size(object), undefined);
    },
  },
  {
    name: "keeps nothing of a source that fails, and rejects with its error",
    async run(store) {
      for (const sent of [0, 3, LARGE]) {
        const object = newObject();
        const fault = new Error("the sender went away");
        const source = async function* () {
          yield* pieces(randomBytes(sent), MIB);
          throw fault;
        };
        await assert.rejects(store.put(object, source()), (error) => error === fault);
        assert.equal(await store.size(object), undefined);
        await damaged(read(store, object, 0, 1));
      }
      assert.equal(await store.sweep(new Date(Date.now() + 60_000)), 0);
    },
  },
  {
    name: "stores an object while the source of another one stands still",
    async run(store) {
      const [first, second] = [newObject(), newObject()];
      const gate = Promise.withResolvers<void>();
      const slow = async function* () {
        yield randomBytes(10);
        await gate.promise;
        yield randomBytes(10);
      };
      const putting = store.put(first, slow());
      try {
        await store.put(second, pieces(randomBytes(10), 10));
        assert.equal(await store.size(second), 10);
        assert.equal(await store.size(first), undefined);
      } finally {
        gate.resolve();
        await putting;
      }
      assert.equal(await store.size(first), 20);
    },
  },
  {
    name: "deletes, also twice, and no other object",
    async run(store) {
      const [object, other] = [newObject(), newObject()];
      await store.put(object, pieces(randomBytes(10), 10));
      await store.put(other, pieces(randomBytes(10), 10));
      await store.delete(object);
      await store.delete(object);
      assert.equal(await store.size(object), undefined);
      await damaged(read(store, object, 0, 9));
      assert.equal((await read(store, other, 0, 9)).byteLength, 10);
    },
  },
  {
    name: "lets a reader end early",
    async run(store) {
      const object = newObject();
      await store.put(object, pieces(randomBytes(LARGE), MIB));
      let got = 0;
      for await (const piece of store.read(object, 0, LARGE - 1)) {
        got += piece.byteLength;
        break;
      }
      assert.ok(got > 0 && got < LARGE);
      await store.delete(object);
      assert.equal(await store.size(object), undefined);
    },
  },
  {
    name: "says that it works",
    run: (store) => store.check(),
  },
];

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

async function read(store: MediaStore, object: string, from: number, to: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const piece of store.read(object, from, to)) parts.push(piece);
  return Buffer.concat(parts);
}

async function damaged(attempt: Promise<unknown>): Promise<void> {
  await assert.rejects(attempt, (error) => isFabricError(error) && error.code === "media.damaged");
}

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
