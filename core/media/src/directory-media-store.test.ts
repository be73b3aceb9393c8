import { mkdtemp, readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FabricError } from "@linkspan/envelopes";
import { afterEach, beforeEach, expect, test } from "vitest";
import { mediaStoreCases } from "./contract/media-store-cases.ts";
import { DirectoryMediaStore } from "./directory-media-store.ts";
import type { MediaStore } from "./media-store.ts";
import { newObject } from "./sealing.ts";

let directory: string;
let store: DirectoryMediaStore;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "linkspan-media-"));
  store = await DirectoryMediaStore.open(join(directory, "media"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

test.each(mediaStoreCases)("a directory $name", (one) => one.run(store));

const bytes = async function* (text: string) {
  yield Buffer.from(text);
};

/** Behaves like the real driver, except for one fault. */
class Faulty implements MediaStore {
  put(...args: Parameters<MediaStore["put"]>) {
    return store.put(...args);
  }
  read(object: string, from: number, to: number) {
    return store.read(object, from, to);
  }
  size(object: string) {
    return store.size(object);
  }
  delete(object: string) {
    return store.delete(object);
  }
  sweep(before: Date) {
    return store.sweep(before);
  }
  check() {
    return store.check();
  }
  async [Symbol.asyncDispose](): Promise<void> {}
}

async function gathered(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const piece of source) parts.push(piece);
  return Buffer.concat(parts);
}

const once = async function* (whole: Uint8Array) {
  yield whole;
};

class LosesTheEnd extends Faulty {
  override async put(object: string, source: AsyncIterable<Uint8Array>) {
    await store.put(object, once((await gathered(source)).subarray(0, 65_551)));
  }
}
class ReadsTooFar extends Faulty {
  override read(object: string, from: number, to: number) {
    return store.read(object, from, to + 1);
  }
}
class ShowsHalves extends Faulty {
  #sizes = new Map<string, number>();
  override async put(object: string, source: AsyncIterable<Uint8Array>) {
    const sizes = this.#sizes;
    const counted = async function* () {
      for await (const piece of source) {
        sizes.set(object, (sizes.get(object) ?? 0) + piece.byteLength);
        yield piece;
      }
    };
    await store.put(object, counted());
    sizes.delete(object);
  }
  override async size(object: string) {
    return this.#sizes.get(object) ?? store.size(object);
  }
}
class HidesFaults extends Faulty {
  override async put(object: string, source: AsyncIterable<Uint8Array>) {
    await store.put(object, source).catch(() => undefined);
  }
}
class TakesOneAtATime extends Faulty {
  #taken = false;
  override async put(object: string, source: AsyncIterable<Uint8Array>) {
    if (this.#taken) throw new FabricError("media.unavailable", "another one is stored");
    this.#taken = true;
    await store.put(object, source);
    this.#taken = false;
  }
}
class DeletesNothing extends Faulty {
  override async delete() {}
}
class ReadsWhole extends Faulty {
  override async *read(object: string, from: number, to: number) {
    yield await gathered(store.read(object, from, to));
  }
}
class NeverWorks extends Faulty {
  override async check() {
    throw new FabricError("media.unavailable", "no");
  }
}

test.each([
  ["gives back the bytes that it was given, whatever their sizes", LosesTheEnd],
  ["reads any range, its ends included", ReadsTooFar],
  ["shows nothing of an object before its put has ended", ShowsHalves],
  ["keeps nothing of a source that fails, and rejects with its error", HidesFaults],
  ["stores an object while the source of another one stands still", TakesOneAtATime],
  ["deletes, also twice, and no other object", DeletesNothing],
  ["lets a reader end early", ReadsWhole],
  ["says that it works", NeverWorks],
])("a store that breaks it fails: %s", async (name, Broken) => {
  const one = mediaStoreCases.find((known) => known.name === name);
  await expect(one?.run(new Broken())).rejects.toThrow();
});

test("every case is broken by one of them", () => {
  expect(mediaStoreCases).toHaveLength(8);
});

test("what a process left when it was killed is swept once it is old, and never an object", async () => {
  const object = newObject();
  await store.put(object, bytes("whole"));
  const left = join(directory, "media/unfinished", newObject());
  await writeFile(left, "half");
  const at = new Date("2026-11-20T12:00:00.000Z");
  await utimes(left, at, at);
  expect(await store.sweep(at)).toBe(0);
  expect(await store.sweep(new Date(at.getTime() + 1))).toBe(1);
  expect(await readdir(join(directory, "media/unfinished"))).toEqual([]);
  expect(await store.size(object)).toBe(5);
});

test("only the owner can read it", async () => {
  const object = newObject();
  await store.put(object, bytes("private"));
  const path = join(directory, "media/objects", object.slice(0, 2), object);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect((await stat(join(directory, "media/objects"))).mode & 0o777).toBe(0o700);
});

test("a name that is taken is never written over", async () => {
  const object = newObject();
  await writeFile(join(directory, "media/unfinished", object), "of another process");
  await expect(store.put(object, bytes("mine"))).rejects.toMatchObject({ code: "media.unavailable" });
});
