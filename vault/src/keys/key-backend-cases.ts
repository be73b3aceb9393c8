/**
 * The conformance suite of `KeyBackend`: each case rejects when a driver violates the obligation in the
 * case's name.
 */
import assert from "node:assert/strict";
import { isFabricError } from "@linkspan/envelopes";
import type { KeyBackend, WrappedKey } from "./key-backend.ts";

/** The operations that a test performs on a driver. Each call of `open` uses the same keys. */
export interface KeyBackendHarness {
  open(): Promise<KeyBackend>;
  /** Makes a new key the current one; older keys still open what they wrapped. */
  rotate(): Promise<void>;
}

export interface KeyBackendCase {
  readonly name: string;
  run(harness: KeyBackendHarness): Promise<void>;
}

const KEY = Uint8Array.from({ length: 32 }, (_, i) => 255 - i);
const CONTEXT = Buffer.from("workspace one");

export const keyBackendCases: readonly KeyBackendCase[] = [
  {
    name: "unwraps what it wrapped",
    run: withBackend(async (backend) => {
      const wrapped = await backend.wrap(KEY, CONTEXT);
      assert.deepEqual([...(await backend.unwrap(wrapped, CONTEXT))], [...KEY]);
    }),
  },
  {
    name: "does not keep the key readable in what it returns",
    run: withBackend(async (backend) => {
      const { bytes } = await backend.wrap(KEY, CONTEXT);
      assert.equal(Buffer.from(bytes).indexOf(Buffer.from(KEY.subarray(0, 8))), -1);
    }),
  },
  {
    name: "never gives the same bytes twice",
    run: withBackend(async (backend) => {
      const [first, second] = [await backend.wrap(KEY, CONTEXT), await backend.wrap(KEY, CONTEXT)];
      assert.notDeepEqual([...first.bytes], [...second.bytes]);
    }),
  },
  {
    name: "leaves the caller's key as it was and hands out keys that can be wiped",
    run: withBackend(async (backend) => {
      const key = new Uint8Array(KEY);
      const wrapped = await backend.wrap(key, CONTEXT);
      assert.deepEqual([...key], [...KEY]);
      (await backend.unwrap(wrapped, CONTEXT)).fill(0);
      assert.deepEqual([...(await backend.unwrap(wrapped, CONTEXT))], [...KEY]);
    }),
  },
  {
    name: "refuses another context",
    run: withBackend(async (backend) => {
      const wrapped = await backend.wrap(KEY, CONTEXT);
      await refused(backend.unwrap(wrapped, Buffer.from("workspace two")));
      await refused(backend.unwrap(wrapped, new Uint8Array()));
      await refused(backend.rewrap(wrapped, Buffer.from("workspace two")));
    }),
  },
  {
    name: "refuses every flipped byte and every cut",
    run: withBackend(async (backend) => {
      const wrapped = await backend.wrap(KEY, CONTEXT);
      for (let at = 0; at < wrapped.bytes.byteLength; at += 1) {
        const flipped = new Uint8Array(wrapped.bytes);
        flipped[at] = (flipped[at] as number) ^ 1;
        await refused(backend.unwrap({ ...wrapped, bytes: flipped }, CONTEXT));
        await refused(backend.unwrap({ ...wrapped, bytes: wrapped.bytes.slice(0, at) }, CONTEXT));
      }
    }),
  },
  {
    name: "refuses a key id that it does not know",
    run: withBackend(async (backend) => {
      const wrapped = await backend.wrap(KEY, CONTEXT);
      await refused(backend.unwrap({ ...wrapped, keyId: "../another" }, CONTEXT));
    }),
  },
  {
    name: "unwraps after a restart",
    async run(harness) {
      const wrapped = await inTurn(harness, (backend) => backend.wrap(KEY, CONTEXT));
      const key = await inTurn(harness, (backend) => backend.unwrap(wrapped, CONTEXT));
      assert.deepEqual([...key], [...KEY]);
    },
  },
  {
    name: "unwraps what an older key wrapped, and moves it to the newest",
    async run(harness) {
      const old = await inTurn(harness, (backend) => backend.wrap(KEY, CONTEXT));
      await harness.rotate();
      await inTurn(harness, async (backend) => {
        assert.deepEqual([...(await backend.unwrap(old, CONTEXT))], [...KEY]);
        const moved: WrappedKey = await backend.rewrap(old, CONTEXT);
        const health = await backend.health();
        assert.ok(health.ok);
        assert.equal(moved.keyId, health.keyId);
        assert.notEqual(moved.keyId, old.keyId);
        assert.deepEqual([...(await backend.unwrap(moved, CONTEXT))], [...KEY]);
      });
    },
  },
  {
    name: "tells that it is gone",
    async run(harness) {
      const backend = await harness.open();
      assert.equal((await backend.health()).ok, true);
      await backend[Symbol.asyncDispose]();
      assert.equal((await backend.health()).ok, false);
      await refused(backend.wrap(KEY, CONTEXT));
    },
  },
];

function withBackend(check: (backend: KeyBackend) => Promise<void>): KeyBackendCase["run"] {
  return (harness) => inTurn(harness, check);
}

async function inTurn<T>(harness: KeyBackendHarness, work: (backend: KeyBackend) => Promise<T>): Promise<T> {
  await using backend = await harness.open();
  return await work(backend);
}

async function refused(attempt: Promise<unknown>): Promise<void> {
  await assert.rejects(attempt, (error) => isFabricError(error) && error.code === "vault.unavailable");
}
