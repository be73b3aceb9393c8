import { randomBytes } from "node:crypto";
import { FabricError } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { DataKeys, type WorkspaceKey } from "./data-keys.ts";
import type { KeyBackend } from "./key-backend.ts";

const NOW = new Date("2026-11-20T12:00:00.000Z");

/** Returns its input as the wrapped key and counts the calls; `pause` delays its answers. */
class CountingBackend implements KeyBackend {
  readonly kind = "counting";
  unwraps = 0;
  handedOut: Uint8Array[] = [];
  pause: Promise<void> = Promise.resolve();

  async wrap(key: Uint8Array): Promise<WorkspaceKey["wrapped"]> {
    return { keyId: "k", bytes: new Uint8Array(key) };
  }

  async unwrap(wrapped: WorkspaceKey["wrapped"]): Promise<Uint8Array> {
    this.unwraps += 1;
    await this.pause;
    const key = new Uint8Array(wrapped.bytes);
    this.handedOut.push(key);
    return key;
  }

  async rewrap(wrapped: WorkspaceKey["wrapped"]): Promise<WorkspaceKey["wrapped"]> {
    return wrapped;
  }

  async health(): Promise<{ ok: true; keyId: string }> {
    return { ok: true, keyId: "k" };
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

function stored(workspaceId: string, key = randomBytes(32)): WorkspaceKey {
  return { workspaceId, keyVersion: 1, wrapped: { keyId: "k", bytes: key } };
}

test("a key is unwrapped once while it is kept, and again when its row changed", async () => {
  const backend = new CountingBackend();
  const keys = new DataKeys(backend);
  const row = stored("ws1");
  const hex = (key: Uint8Array) => Buffer.from(key).toString("hex");
  expect(await keys.use(row, NOW, hex)).toBe(hex(row.wrapped.bytes));
  expect(await keys.use(row, NOW, hex)).toBe(hex(row.wrapped.bytes));
  expect(backend.unwraps).toBe(1);
  const replaced = stored("ws1");
  expect(await keys.use(replaced, NOW, hex)).toBe(hex(replaced.wrapped.bytes));
  expect(backend.unwraps).toBe(2);
});

test("what the work got is zero afterwards, also when it throws", async () => {
  const keys = new DataKeys(new CountingBackend());
  const seen: Uint8Array[] = [];
  const row = stored("ws1");
  await keys.use(row, NOW, (key) => seen.push(key));
  await expect(
    keys.use(row, NOW, (key) => {
      seen.push(key);
      throw new FabricError("vault.unavailable", "no");
    }),
  ).rejects.toThrow("no");
  expect(seen.map((key) => key.every((byte) => byte === 0))).toEqual([true, true]);
});

test("keys are forgotten by age, by number, and all at once", async () => {
  const backend = new CountingBackend();
  const keys = new DataKeys(backend, { keepMs: 1_000, maxKeys: 2 });
  const rows = ["ws1", "ws2", "ws3"].map((name) => stored(name));
  const use = (index: number, atMs: number) =>
    keys.use(rows[index] as WorkspaceKey, new Date(NOW.getTime() + atMs), () => undefined);
  await use(0, 0);
  await use(0, 1_001);
  expect(backend.unwraps).toBe(2);
  await use(1, 1_001);
  await use(2, 1_001);
  await use(0, 1_001);
  expect(backend.unwraps).toBe(5);
  keys.forget();
  await use(0, 1_001);
  expect(backend.unwraps).toBe(6);
});

test("a key that arrives after all were forgotten is not kept", async () => {
  const backend = new CountingBackend();
  const gate = Promise.withResolvers<void>();
  backend.pause = gate.promise;
  const keys = new DataKeys(backend);
  const row = stored("ws1");
  const using = keys.use(row, NOW, () => "used");
  keys.forget();
  gate.resolve();
  expect(await using).toBe("used");
  await keys.use(row, NOW, () => undefined);
  expect(backend.unwraps).toBe(2);
});

test("a user's key survives another's forgetting", async () => {
  const keys = new DataKeys(new CountingBackend());
  const row = stored("ws1");
  await keys.use(row, NOW, () => undefined);
  const work = keys.use(row, NOW, (key) => key.some((byte) => byte !== 0));
  keys.forget();
  expect(await work).toBe(true);
});
