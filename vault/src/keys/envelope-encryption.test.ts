import { randomBytes } from "node:crypto";
import { FabricError } from "@linkspan/envelopes";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  assertHead,
  type Binding,
  dataKeyContext,
  headSeal,
  openVersion,
  type SealedVersion,
  sealVersion,
} from "./envelope-encryption.ts";

const DATA_KEY = randomBytes(32);
const PLAIN = Buffer.from("a credential");
const BINDING: Binding = {
  workspaceId: "ws1",
  identityId: "2id",
  service: "irc",
  kind: "credential",
  secretId: "6f9b2c1e-0000-4000-8000-000000000001",
  version: 3,
  keyVersion: 1,
};

function codeOf(act: () => unknown): string {
  try {
    act();
    return "opened";
  } catch (error) {
    if (error instanceof FabricError) return error.code;
    throw error;
  }
}

test("what was sealed opens under the same key and binding, and under no other", () => {
  const sealed = sealVersion(DATA_KEY, BINDING, PLAIN);
  expect(Buffer.from(openVersion(DATA_KEY, BINDING, sealed))).toEqual(PLAIN);
  expect(codeOf(() => openVersion(randomBytes(32), BINDING, sealed))).toBe("vault.unavailable");
  const others: Partial<Binding>[] = [
    { workspaceId: "ws10" },
    { identityId: "id" },
    { service: "xmpp" },
    { kind: "other" },
    { secretId: "6f9b2c1e-0000-4000-8000-000000000002" },
    { version: 2 },
    { keyVersion: 2 },
  ];
  for (const other of others) {
    expect(codeOf(() => openVersion(DATA_KEY, { ...BINDING, ...other }, sealed))).toBe("vault.unavailable");
  }
});

test("bytes shifted between neighbours are another binding (ws1+2id is not ws12+id)", () => {
  const sealed = sealVersion(DATA_KEY, BINDING, PLAIN);
  const shifted = { ...BINDING, workspaceId: "ws12", identityId: "id" };
  expect(codeOf(() => openVersion(DATA_KEY, shifted, sealed))).toBe("vault.unavailable");
  expect(Buffer.from(dataKeyContext("ws1", 12))).not.toEqual(Buffer.from(dataKeyContext("ws11", 2)));
});

test("any two bindings that differ seal apart", () => {
  const id = fc.constantFrom("a", "ab", "b", "1", "12", "2");
  const binding = fc.record({
    workspaceId: id,
    identityId: id,
    service: id,
    kind: id,
    version: fc.integer({ min: 1, max: 20 }),
    keyVersion: fc.integer({ min: 1, max: 20 }),
  });
  fc.assert(
    fc.property(binding, binding, (a, b) => {
      // The secret id is the same: only the additional data differ.
      const sealed = sealVersion(DATA_KEY, { ...BINDING, ...a }, PLAIN);
      const equal = JSON.stringify(a) === JSON.stringify(b);
      const opens = codeOf(() => openVersion(DATA_KEY, { ...BINDING, ...b }, sealed)) === "opened";
      expect(opens).toBe(equal);
    }),
  );
});

test("a truncated tag, the trap of GCM in node, does not open", () => {
  const sealed = sealVersion(DATA_KEY, BINDING, PLAIN);
  for (const cut of [1, 4, 8, 12, 15, 16, sealed.bytes.byteLength]) {
    const bytes = sealed.bytes.subarray(0, sealed.bytes.byteLength - cut);
    expect(codeOf(() => openVersion(DATA_KEY, BINDING, { ...sealed, bytes }))).toBe("vault.unavailable");
  }
});

test("every flipped byte of nonce, ciphertext, tag and commitment is noticed", () => {
  const sealed = sealVersion(DATA_KEY, BINDING, PLAIN);
  for (const part of ["nonce", "bytes", "commitment"] as const) {
    for (let at = 0; at < sealed[part].byteLength; at += 1) {
      const flipped = new Uint8Array(sealed[part]);
      flipped[at] = (flipped[at] as number) ^ 0x80;
      const broken: SealedVersion = { ...sealed, [part]: flipped };
      expect(codeOf(() => openVersion(DATA_KEY, BINDING, broken))).toBe("vault.unavailable");
    }
  }
});

test("the commitment is stored, so a ciphertext made for two keys still names one", () => {
  const [a, b] = [randomBytes(32), randomBytes(32)];
  const [first, second] = [sealVersion(a, BINDING, PLAIN), sealVersion(b, BINDING, PLAIN)];
  expect(Buffer.from(first.commitment)).not.toEqual(Buffer.from(second.commitment));
  const forged = { ...second, commitment: first.commitment };
  expect(codeOf(() => openVersion(b, BINDING, forged))).toBe("vault.unavailable");
});

test("nonces, keys and ciphertexts of equal plaintexts differ", () => {
  const seals = Array.from({ length: 64 }, () => sealVersion(DATA_KEY, BINDING, PLAIN));
  expect(new Set(seals.map(({ nonce }) => Buffer.from(nonce).toString("hex"))).size).toBe(64);
  const next = sealVersion(DATA_KEY, { ...BINDING, version: 4 }, PLAIN);
  expect(Buffer.from(next.commitment)).not.toEqual(Buffer.from(seals[0]?.commitment ?? []));
});

test("a head set back to an older version, or with a lowered minimum, is noticed", () => {
  const current = { ...BINDING, version: 5 };
  const seal = headSeal(DATA_KEY, current, 2);
  expect(codeOf(() => assertHead(DATA_KEY, current, 2, seal))).toBe("opened");
  expect(codeOf(() => assertHead(DATA_KEY, { ...current, version: 4 }, 2, seal))).toBe("vault.unavailable");
  expect(codeOf(() => assertHead(DATA_KEY, current, 1, seal))).toBe("vault.unavailable");
  expect(codeOf(() => assertHead(DATA_KEY, current, 2, undefined))).toBe("vault.unavailable");
  expect(codeOf(() => assertHead(DATA_KEY, current, 2, seal.subarray(0, 16)))).toBe("vault.unavailable");
});

test("a data key of another length is refused", () => {
  for (const length of [0, 16, 31, 33]) {
    expect(codeOf(() => sealVersion(randomBytes(length), BINDING, PLAIN))).toBe("vault.unavailable");
  }
});
