/**
 * Key-encryption keys in one file, for laptops and tests: an eight-byte mark, then the id (16 bytes) and key
 * (32 bytes) of each key; the last one is the current one. A reader of both the file and the database can
 * read everything, so the production profile refuses this driver.
 */
import { randomBytes, randomFillSync } from "node:crypto";
import { link, mkdir, open, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { FabricError } from "@linkspan/envelopes";
import { decrypt, encrypt, KEY_BYTES, NONCE_BYTES } from "./aead.ts";
import type { KeyBackend, KeyBackendHealth, WrappedKey } from "./key-backend.ts";

const MARK = Buffer.from("LSKEK\0\0\x01", "latin1");
const ID_BYTES = 16;
const ENTRY_BYTES = ID_BYTES + KEY_BYTES;

export interface FileKeyOptions {
  /** Created with mode 0600 when it does not exist; its directory with 0700. */
  readonly path: string;
  /** True in the production profile, which refuses keys in files. */
  readonly production: boolean;
}

interface Entry {
  readonly id: string;
  readonly key: Uint8Array;
}

export class FileKeyBackend implements KeyBackend {
  readonly kind = "file";
  #entries: readonly Entry[];

  private constructor(entries: readonly Entry[]) {
    this.#entries = entries;
  }

  /**
   * @throws FabricError `vault.sealed` in the production profile, for a file that others may read, or one
   *   that is not a key file
   */
  static async open(options: FileKeyOptions): Promise<FileKeyBackend> {
    refuseInProduction(options);
    return new FileKeyBackend(await readOrCreate(options.path));
  }

  /**
   * Adds a key to the file and makes it the current one. Running processes keep using the old one until they
   * restart.
   *
   * @throws FabricError `vault.sealed`
   */
  static async rotate(options: FileKeyOptions): Promise<void> {
    refuseInProduction(options);
    const entries = [...(await readOrCreate(options.path)), newEntry()];
    await writeBeside(options.path, entries, (temporary) => rename(temporary, options.path));
    wipe(entries);
  }

  async wrap(key: Uint8Array, context: Uint8Array): Promise<WrappedKey> {
    const entry = this.#current();
    const { nonce, bytes } = encrypt(entry.key, key, context);
    return { keyId: entry.id, bytes: Buffer.concat([nonce, bytes]) };
  }

  async unwrap(wrapped: WrappedKey, context: Uint8Array): Promise<Uint8Array> {
    const entry = this.#entries.find(({ id }) => id === wrapped.keyId);
    if (entry === undefined) throw unavailable("the key file does not hold the key that wrapped this");
    const nonce = wrapped.bytes.subarray(0, NONCE_BYTES);
    return decrypt(entry.key, { nonce, bytes: wrapped.bytes.subarray(NONCE_BYTES) }, context);
  }

  async rewrap(wrapped: WrappedKey, context: Uint8Array): Promise<WrappedKey> {
    const key = await this.unwrap(wrapped, context);
    try {
      return await this.wrap(key, context);
    } finally {
      key.fill(0);
    }
  }

  async health(): Promise<KeyBackendHealth> {
    const current = this.#entries.at(-1);
    return current === undefined
      ? { ok: false, reason: "the key file was closed" }
      : { ok: true, keyId: current.id };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    wipe(this.#entries);
    this.#entries = [];
  }

  #current(): Entry {
    const entry = this.#entries.at(-1);
    if (entry === undefined) throw unavailable("the key file was closed");
    return entry;
  }
}

function refuseInProduction({ production }: FileKeyOptions): void {
  if (production) {
    throw new FabricError(
      "vault.sealed",
      "keys in files are refused in production; name another key backend",
    );
  }
}

async function readOrCreate(path: string): Promise<readonly Entry[]> {
  const found = await read(path);
  if (found !== undefined) return found;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const fresh = [newEntry()];
  try {
    // A link appears completely or not at all, and never replaces a file that another process made meanwhile.
    await writeBeside(path, fresh, (temporary) => link(temporary, path));
    return fresh;
  } catch (error) {
    wipe(fresh);
    if (!hasCode(error, "EEXIST")) throw error;
  }
  const made = await read(path);
  if (made === undefined) throw unavailable("the key file vanished");
  return made;
}

async function read(path: string): Promise<readonly Entry[] | undefined> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, "r");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw sealed("the key file cannot be read", error);
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw sealed("the key file is not a file");
    if ((stat.mode & 0o077) !== 0) throw sealed("the key file may be read by others; give it mode 0600");
    const bytes = await file.readFile();
    try {
      return parse(bytes);
    } finally {
      bytes.fill(0);
    }
  } finally {
    await file.close();
  }
}

function parse(bytes: Uint8Array): readonly Entry[] {
  const size = bytes.byteLength - MARK.byteLength;
  if (size < ENTRY_BYTES || size % ENTRY_BYTES !== 0 || !MARK.equals(bytes.subarray(0, MARK.byteLength))) {
    throw sealed("the key file is not one");
  }
  const entries: Entry[] = [];
  for (let at = MARK.byteLength; at < bytes.byteLength; at += ENTRY_BYTES) {
    const id = Buffer.from(bytes.subarray(at, at + ID_BYTES)).toString("hex");
    entries.push({ id, key: new Uint8Array(bytes.subarray(at + ID_BYTES, at + ENTRY_BYTES)) });
  }
  return entries;
}

async function writeBeside(
  path: string,
  entries: readonly Entry[],
  place: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}`;
  const bytes = Buffer.concat([MARK, ...entries.flatMap(({ id, key }) => [Buffer.from(id, "hex"), key])]);
  try {
    await writeDurably(temporary, bytes);
    await place(temporary);
  } finally {
    bytes.fill(0);
    await unlink(temporary).catch((error: unknown) => {
      if (!hasCode(error, "ENOENT")) throw error;
    });
  }
  await syncDirectory(dirname(path));
}

async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function newEntry(): Entry {
  return { id: randomBytes(ID_BYTES).toString("hex"), key: randomFillSync(new Uint8Array(KEY_BYTES)) };
}

function wipe(entries: readonly Entry[]): void {
  for (const { key } of entries) key.fill(0);
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

function sealed(why: string, cause?: unknown): FabricError {
  return new FabricError("vault.sealed", why, { cause });
}

function unavailable(why: string): FabricError {
  return new FabricError("vault.unavailable", why);
}
