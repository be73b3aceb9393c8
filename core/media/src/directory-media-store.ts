/**
 * Media in a directory of one machine: `objects/<first two characters>/<object>`, and `unfinished/<object>` while it is
 * being written.
 */
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FabricError } from "@linkspan/envelopes";
import type { MediaStore } from "./media-store.ts";

/** Pieces are gathered to writes of this size. */
const WRITE_BYTES = 524_288;
const READ_BYTES = 262_144;

export class DirectoryMediaStore implements MediaStore {
  readonly #objects: string;
  readonly #unfinished: string;

  private constructor(path: string) {
    this.#objects = join(path, "objects");
    this.#unfinished = join(path, "unfinished");
  }

  /** Creates the directory when it is missing, readable by its owner only. @throws FabricError `media.unavailable` */
  static async open(path: string): Promise<DirectoryMediaStore> {
    const store = new DirectoryMediaStore(path);
    for (const directory of [store.#objects, store.#unfinished]) {
      await passing(mkdir(directory, { recursive: true, mode: 0o700 }));
    }
    return store;
  }

  async put(object: string, source: AsyncIterable<Uint8Array>): Promise<void> {
    const draft = join(this.#unfinished, object);
    const final = this.#pathOf(object);
    const file = await passing(open(draft, "wx", 0o600));
    try {
      try {
        await write(file, source);
        await passing(file.sync());
      } finally {
        await file.close();
      }
      const made = await passing(mkdir(dirname(final), { recursive: true, mode: 0o700 }));
      await passing(rename(draft, final));
      await syncDirectory(dirname(final));
      if (made !== undefined) await syncDirectory(this.#objects);
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
  }

  async *read(object: string, from: number, to: number): AsyncGenerator<Uint8Array> {
    const file = await passing(open(this.#pathOf(object), "r"), "media.damaged");
    try {
      for (let at = from; at <= to; ) {
        const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, to - at + 1));
        const { bytesRead } = await passing(file.read(buffer, 0, buffer.byteLength, at));
        if (bytesRead === 0) return;
        at += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await file.close();
    }
  }

  async size(object: string): Promise<number | undefined> {
    try {
      return (await stat(this.#pathOf(object))).size;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw unavailable(error);
    }
  }

  async delete(object: string): Promise<void> {
    await passing(rm(this.#pathOf(object), { force: true }));
  }

  async sweep(before: Date): Promise<number> {
    let removed = 0;
    for (const name of await passing(readdir(this.#unfinished))) {
      const path = join(this.#unfinished, name);
      // Its put may end just now.
      const found = await stat(path).catch(() => undefined);
      if (found === undefined || found.mtime >= before) continue;
      await passing(rm(path, { force: true }));
      removed += 1;
    }
    return removed;
  }

  async check(): Promise<void> {
    const probe = join(this.#unfinished, `.check-${process.pid}`);
    try {
      const file = await passing(open(probe, "w", 0o600));
      await file.close();
    } finally {
      await rm(probe, { force: true });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #pathOf(object: string): string {
    return join(this.#objects, object.slice(0, 2), object);
  }
}

async function write(file: FileHandle, source: AsyncIterable<Uint8Array>): Promise<void> {
  let pieces: Uint8Array[] = [];
  let bytes = 0;
  const flush = async () => {
    const gathered = pieces.length === 1 ? (pieces[0] as Uint8Array) : Buffer.concat(pieces, bytes);
    pieces = [];
    bytes = 0;
    // `writeFile` on a handle goes on at its position until all is written.
    await passing(file.writeFile(gathered));
  };
  for await (const piece of source) {
    pieces.push(piece);
    bytes += piece.byteLength;
    if (bytes >= WRITE_BYTES) await flush();
  }
  if (bytes > 0) await flush();
}

/** A rename is durable only when its directory is. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await passing(open(path, "r"));
  try {
    await passing(directory.sync());
  } finally {
    await directory.close();
  }
}

async function passing<T>(
  work: Promise<T>,
  missing: "media.unavailable" | "media.damaged" = "media.unavailable",
): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (isMissing(error) && missing === "media.damaged") {
      throw new FabricError("media.damaged", "a stored object is missing", { cause: error });
    }
    throw unavailable(error);
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

function unavailable(cause: unknown): FabricError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
  return new FabricError("media.unavailable", `the directory of media does not work: ${code}`, { cause });
}
