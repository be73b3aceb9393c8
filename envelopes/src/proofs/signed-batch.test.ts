import { hash } from "node:crypto";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import type { Envelope } from "../codec/envelope.ts";
import { BATCH_TYPE, ENVELOPE_TYPE, TICKET_TYPE } from "../codec/pae.ts";
import { encodeLater, type Signer, signerFromSeed } from "../codec/sign.ts";
import { codeOf, event, NOW, recordOf } from "../sample.ts";
import { batchSigner } from "./batch-signer.ts";
import { KeyRing } from "./keys.ts";
import { claimOf, prove, proveAllLater, proveLater } from "./proof.ts";
import { ProvenRoots } from "./proven-roots.ts";
import { leafHash, readBatchSignature, rootFrom, treeOf, writeBatchSignature } from "./signed-batch.ts";

const signer = signerFromSeed(new Uint8Array(32).fill(7));
const keys = new KeyRing([{ ...recordOf(signer), purposes: ["envelope", "ticket"] }]);
const bodyOf = (n: number) => Buffer.from(`{"n":${n}}`);
const range = (count: number) => Array.from({ length: count }, (_, n) => n);

/** RFC 6962 section 2.1, word for word. */
function treeHead(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 1) return leaves[0] as Uint8Array;
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  const [left, right] = [treeHead(leaves.slice(0, k)), treeHead(leaves.slice(k))];
  return hash("sha256", Buffer.concat([Uint8Array.of(1), left, right]), "buffer");
}

function signAll(count: number, by = signer, type = ENVELOPE_TYPE): Promise<string[]> {
  const batches = batchSigner(by);
  return Promise.all(range(count).map((n) => batches.signLater(type, bodyOf(n))));
}

const claim = (sig: string, body: Uint8Array, type = ENVELOPE_TYPE) =>
  claimOf(
    type,
    type === TICKET_TYPE ? "ticket" : "envelope",
    { body, kid: signer.kid, sig },
    keys,
    NOW.getTime(),
  );

const refusalOf = (sig: string, body: Uint8Array, type?: string) =>
  codeOf(() => prove(claim(sig, body, type)));

test("each leaf's way leads to the root of RFC 6962, and to no other place", () => {
  for (const size of [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65]) {
    const leaves = range(size).map((n) => leafHash(bodyOf(n)));
    const { root, paths } = treeOf(leaves);
    expect(Buffer.from(root)).toEqual(Buffer.from(treeHead(leaves)));
    for (const [index, path] of paths.entries()) {
      const leaf = leaves[index] as Uint8Array;
      expect(rootFrom(leaf, { index, size, path })).toEqual(root);
      for (const other of range(size).filter((one) => one !== index)) {
        expect(rootFrom(leaf, { index: other, size, path })).not.toEqual(root);
      }
    }
  }
});

test("every member of a batch of any size is proven, and nothing else is", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 2, max: 64 }), fc.nat(), async (size, pick) => {
      const sigs = await signAll(size);
      const index = pick % size;
      const sig = sigs[index] as string;
      expect(refusalOf(sig, bodyOf(index))).toBe("none");
      expect(refusalOf(sig, bodyOf(size))).toBe("envelope.bad_signature");
      expect(refusalOf(sig, bodyOf((index + 1) % size))).toBe("envelope.bad_signature");
      expect(refusalOf(sig, bodyOf(index), TICKET_TYPE)).toBe("envelope.bad_signature");
    }),
    { numRuns: 30 },
  );
});

test("no altered byte passes, before and after the batch is known", async () => {
  const sigs = await signAll(11);
  const bytes = Buffer.from(sigs[4] as string, "base64url");
  const altered = range(bytes.length).map((at) => {
    const copy = Buffer.from(bytes);
    copy[at] = (copy[at] as number) ^ 1;
    return copy.toString("base64url");
  });
  const refusals = () => altered.map((sig) => refusalOf(sig, bodyOf(4)));
  expect(new Set(refusals())).toEqual(new Set(["envelope.bad_signature"]));
  expect(refusalOf(sigs[4] as string, bodyOf(4))).toBe("none");
  expect(new Set(refusals())).toEqual(new Set(["envelope.bad_signature"]));
});

test("any bytes whatever are a batch's signature in their one spelling, or none", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), (bytes) => {
      const read = readBatchSignature(bytes);
      if (read !== undefined)
        expect(writeBatchSignature(read)).toBe(Buffer.from(bytes).toString("base64url"));
    }),
  );
});

test("a key that is not in force proves nothing, though its batch is known", async () => {
  const [sig = ""] = await signAll(3);
  expect(refusalOf(sig, bodyOf(0))).toBe("none");
  const revoked = new KeyRing([{ ...recordOf(signer), revoked_at: "2026-01-02T00:00:00.000Z" }]);
  const signed = { body: bodyOf(0), kid: signer.kid, sig };
  expect(codeOf(() => claimOf(ENVELOPE_TYPE, "envelope", signed, revoked, NOW.getTime()))).toBe(
    "envelope.revoked_key",
  );
});

test("a batch that is known of one key proves nothing for another", async () => {
  const [sig = ""] = await signAll(3);
  expect(refusalOf(sig, bodyOf(0))).toBe("none");
  const other = signerFromSeed(new Uint8Array(32).fill(8));
  const both = new KeyRing([recordOf(signer), recordOf(other)]);
  const signed = { body: bodyOf(0), kid: other.kid, sig };
  const claimed = () => claimOf(ENVELOPE_TYPE, "envelope", signed, both, NOW.getTime());
  expect(codeOf(() => prove(claimed()))).toBe("envelope.bad_signature");
  expect((await proveAllLater([claimed(), claim(sig, bodyOf(0))])).map((error) => error?.code)).toEqual([
    "envelope.bad_signature",
    undefined,
  ]);
});

test("a place in a tree has ways of one length only, so that a proof has one spelling", () => {
  const leaf = leafHash(bodyOf(0));
  for (const size of range(67)) {
    for (const index of range(size)) {
      const lengths = range(12).filter(
        (length) => rootFrom(leaf, { index, size, path: range(length).map(() => leaf) }) !== undefined,
      );
      expect(lengths).toHaveLength(1);
    }
  }
});

test("what cannot be encoded fails alone; those that were asked for with it are signed", async () => {
  const batches = batchSigner(signer);
  const encoded = (payload: object) => encodeLater({ ...event, payload } as Envelope, batches);
  const settled = await Promise.allSettled([
    encoded(event.payload),
    encoded({ fraction: 1.5 }),
    encoded(event.payload),
  ]);
  expect(settled.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  for (const one of settled) {
    if (one.status === "fulfilled") expect(refusalOf(one.value.sig, one.value.body)).toBe("none");
  }
});

test("many of one batch are proven together, the bad ones each refused", async () => {
  const sigs = await signAll(40, signerFromSeed(new Uint8Array(32).fill(7)));
  const errors = await proveAllLater(sigs.map((sig, n) => claim(sig, bodyOf(n === 13 ? 14 : n))));
  expect(errors.map((error) => error?.code)).toEqual(
    range(40).map((n) => (n === 13 ? "envelope.bad_signature" : undefined)),
  );
});

test("one alone has a plain signature; those of one moment share one, 64 at most", async () => {
  const sign = vi.fn<Signer["signLater"]>((type, body) => signer.signLater(type, body));
  const counted: Signer = { ...signer, signLater: sign };
  const [alone = ""] = await signAll(1, counted);
  expect(alone).toBe(signer.sign(ENVELOPE_TYPE, bodyOf(0)));
  sign.mockClear();
  const sigs = await signAll(130, counted);
  expect(sign.mock.calls.map(([type]) => type)).toEqual([BATCH_TYPE, BATCH_TYPE, BATCH_TYPE]);
  for (const [n, sig] of sigs.entries()) expect(refusalOf(sig, bodyOf(n))).toBe("none");
});

test("when the signature fails, each of its batch fails, and the next batch is signed", async () => {
  let fails = true;
  const failing: Signer = {
    ...signer,
    signLater: (type, body) => (fails ? Promise.reject(new Error("no key")) : signer.signLater(type, body)),
  };
  const batches = batchSigner(failing);
  const ask = () => Promise.allSettled(range(3).map((n) => batches.signLater(ENVELOPE_TYPE, bodyOf(n))));
  expect((await ask()).map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
  fails = false;
  expect((await ask()).map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "fulfilled"]);
});

test("the signature of a root is none of its members'", async () => {
  const [sig = ""] = await signAll(2);
  const { signature } = readBatchSignature(Buffer.from(sig, "base64url")) ?? {};
  const plain = Buffer.from(signature ?? []).toString("base64url");
  expect(refusalOf(plain, bodyOf(0))).toBe("envelope.bad_signature");
});

test("a root that is being checked is checked once; a refusal is not remembered", () => {
  const roots = new ProvenRoots<Error>(2);
  const checks: ((error?: Error) => void)[] = [];
  const answers: (string | undefined)[] = [];
  const ask = (root: string) =>
    roots.prove(
      root,
      (done) => checks.push(done),
      (error) => answers.push(error?.message ?? "good"),
    );
  ask("a");
  ask("a");
  expect(checks).toHaveLength(1);
  checks.shift()?.(new Error("bad"));
  expect(answers).toEqual(["bad", "bad"]);
  ask("a");
  checks.shift()?.();
  ask("a");
  expect(answers).toEqual(["bad", "bad", "good", "good"]);
  expect(checks).toHaveLength(0);
});

test("it remembers the newest roots only", () => {
  const roots = new ProvenRoots(2);
  for (const root of ["a", "b", "c"]) roots.add(root);
  expect(["a", "b", "c"].map((root) => roots.has(root))).toEqual([false, true, true]);
});

test("a proof of a known batch is answered at once", async () => {
  const [sig = ""] = await signAll(2);
  prove(claim(sig, bodyOf(0)));
  const done = vi.fn<(error?: unknown) => void>();
  proveLater(claim(sig, bodyOf(0)), done);
  expect(done).toHaveBeenCalledExactlyOnceWith();
});
