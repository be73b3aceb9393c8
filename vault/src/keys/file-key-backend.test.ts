import { AssertionError } from "node:assert/strict";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FabricError, isFabricError } from "@linkspan/envelopes";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FileKeyBackend } from "./file-key-backend.ts";
import type { KeyBackend, KeyBackendHealth, WrappedKey } from "./key-backend.ts";
import { type KeyBackendHarness, keyBackendCases } from "./key-backend-cases.ts";

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "linkspan-vault-"));
  path = join(directory, "keys", "vault.key");
});

afterEach(() => rm(directory, { recursive: true, force: true }));

function options(): { path: string; production: boolean } {
  return { path, production: false };
}

function harness(wrap: (backend: KeyBackend) => KeyBackend = (backend) => backend): KeyBackendHarness {
  return {
    open: async () => wrap(await FileKeyBackend.open(options())),
    rotate: () => FileKeyBackend.rotate(options()),
  };
}

async function codeOf(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
    return "opened";
  } catch (error) {
    if (isFabricError(error)) return error.code;
    throw error;
  }
}

describe("the file backend", () => {
  test.each(keyBackendCases)("$name", async (one) => {
    await one.run(harness());
  });
});

/** Behaves like the real driver, except for one fault. */
abstract class Faulty implements KeyBackend {
  readonly kind = "faulty";
  protected readonly inner: KeyBackend;

  constructor(inner: KeyBackend) {
    this.inner = inner;
  }

  wrap(key: Uint8Array, context: Uint8Array): Promise<WrappedKey> {
    return this.inner.wrap(key, context);
  }
  unwrap(wrapped: WrappedKey, context: Uint8Array): Promise<Uint8Array> {
    return this.inner.unwrap(wrapped, context);
  }
  rewrap(wrapped: WrappedKey, context: Uint8Array): Promise<WrappedKey> {
    return this.inner.rewrap(wrapped, context);
  }
  health(): Promise<KeyBackendHealth> {
    return this.inner.health();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.inner[Symbol.asyncDispose]();
  }
}

const EMPTY = new Uint8Array();

class IgnoresContext extends Faulty {
  override wrap(key: Uint8Array): Promise<WrappedKey> {
    return this.inner.wrap(key, EMPTY);
  }
  override unwrap(wrapped: WrappedKey): Promise<Uint8Array> {
    return this.inner.unwrap(wrapped, EMPTY);
  }
  override rewrap(wrapped: WrappedKey): Promise<WrappedKey> {
    return this.inner.rewrap(wrapped, EMPTY);
  }
}

class WrapsAnother extends Faulty {
  override wrap(_key: Uint8Array, context: Uint8Array): Promise<WrappedKey> {
    return this.inner.wrap(new Uint8Array(32), context);
  }
}

class WrapsInClear extends Faulty {
  override async wrap(key: Uint8Array, context: Uint8Array): Promise<WrappedKey> {
    const wrapped = await this.inner.wrap(key, context);
    return { ...wrapped, bytes: Buffer.concat([wrapped.bytes, key]) };
  }
  override unwrap(wrapped: WrappedKey, context: Uint8Array): Promise<Uint8Array> {
    return this.inner.unwrap({ ...wrapped, bytes: wrapped.bytes.subarray(0, -32) }, context);
  }
}

class WrapsTheSame extends Faulty {
  #first: WrappedKey | undefined;
  override async wrap(key: Uint8Array, context: Uint8Array): Promise<WrappedKey> {
    this.#first ??= await this.inner.wrap(key, context);
    return this.#first;
  }
}

class EatsTheKey extends Faulty {
  override async wrap(key: Uint8Array, context: Uint8Array): Promise<WrappedKey> {
    const wrapped = await this.inner.wrap(key, context);
    key.fill(0);
    return wrapped;
  }
}

class SharesItsCopy extends Faulty {
  readonly #kept = new Map<string, Uint8Array>();
  override async unwrap(wrapped: WrappedKey, context: Uint8Array): Promise<Uint8Array> {
    const name = Buffer.from(wrapped.bytes).toString("hex");
    const key = this.#kept.get(name) ?? (await this.inner.unwrap(wrapped, context));
    this.#kept.set(name, key);
    return key;
  }
}

class TakesAnything extends Faulty {
  override async unwrap(wrapped: WrappedKey, context: Uint8Array): Promise<Uint8Array> {
    return this.inner.unwrap(wrapped, context).catch(() => new Uint8Array(32));
  }
}

class TakesAnyKeyId extends Faulty {
  override async unwrap(wrapped: WrappedKey, context: Uint8Array): Promise<Uint8Array> {
    const health = await this.inner.health();
    return this.inner.unwrap({ ...wrapped, keyId: health.ok ? health.keyId : "" }, context);
  }
}

class ForgetsOnRestart extends Faulty {
  readonly #own = new Set<string>();
  override async wrap(key: Uint8Array, context: Uint8Array): Promise<WrappedKey> {
    const wrapped = await this.inner.wrap(key, context);
    this.#own.add(Buffer.from(wrapped.bytes).toString("hex"));
    return wrapped;
  }
  override async unwrap(wrapped: WrappedKey, context: Uint8Array): Promise<Uint8Array> {
    if (!this.#own.has(Buffer.from(wrapped.bytes).toString("hex"))) {
      throw new FabricError("vault.unavailable", "forgotten");
    }
    return this.inner.unwrap(wrapped, context);
  }
}

class RewrapsInPlace extends Faulty {
  override async rewrap(wrapped: WrappedKey): Promise<WrappedKey> {
    return wrapped;
  }
}

class AlwaysWell extends Faulty {
  override async health(): Promise<KeyBackendHealth> {
    return { ok: true, keyId: "always" };
  }
}

async function fails(attempt: Promise<void> | undefined): Promise<boolean> {
  try {
    await attempt;
    return false;
  } catch (error) {
    // An assertion of the case itself, or the driver's refusal where an answer was expected.
    return error instanceof AssertionError || isFabricError(error);
  }
}

describe("each case fails a driver that breaks its obligation", () => {
  const broken: [string, new (inner: KeyBackend) => KeyBackend][] = [
    ["unwraps what it wrapped", WrapsAnother],
    ["does not keep the key readable in what it returns", WrapsInClear],
    ["never gives the same bytes twice", WrapsTheSame],
    ["leaves the caller's key as it was and hands out keys that can be wiped", EatsTheKey],
    ["leaves the caller's key as it was and hands out keys that can be wiped", SharesItsCopy],
    ["refuses another context", IgnoresContext],
    ["refuses every flipped byte and every cut", TakesAnything],
    ["refuses a key id that it does not know", TakesAnyKeyId],
    ["unwraps after a restart", ForgetsOnRestart],
    ["unwraps what an older key wrapped, and moves it to the newest", RewrapsInPlace],
    ["tells that it is gone", AlwaysWell],
  ];

  test.each(broken)("%s", async (name, Driver) => {
    const found = keyBackendCases.find((one) => one.name === name);
    expect(await fails(found?.run(harness((backend) => new Driver(backend))))).toBe(true);
  });

  test("none is left out", () => {
    expect(new Set(broken.map(([name]) => name))).toEqual(new Set(keyBackendCases.map(({ name }) => name)));
  });
});

test("the file is made once, for its owner only, and leaves nothing beside it", async () => {
  const made = await Promise.all([1, 2, 3, 4].map(() => FileKeyBackend.open(options())));
  const ids = await Promise.all(made.map(async (backend) => JSON.stringify(await backend.health())));
  expect(new Set(ids).size).toBe(1);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readdir(join(directory, "keys"))).toEqual(["vault.key"]);
});

test("the production profile refuses it, and makes no file", async () => {
  const production = { path, production: true };
  expect(await codeOf(FileKeyBackend.open(production))).toBe("vault.sealed");
  expect(await codeOf(FileKeyBackend.rotate(production))).toBe("vault.sealed");
  expect(await readdir(directory)).toEqual([]);
});

test("a file that others may read, or that is no key file, is refused and kept", async () => {
  await FileKeyBackend.open(options());
  const good = await readFile(path);
  await chmod(path, 0o640);
  expect(await codeOf(FileKeyBackend.open(options()))).toBe("vault.sealed");
  await chmod(path, 0o600);
  for (const bad of [Buffer.alloc(0), good.subarray(0, -1), Buffer.concat([good, good]), Buffer.alloc(56)]) {
    await writeFile(path, bad);
    expect(await codeOf(FileKeyBackend.open(options()))).toBe("vault.sealed");
    expect(await readFile(path)).toEqual(bad);
  }
});
