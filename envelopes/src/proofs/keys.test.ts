import { ed25519 } from "@noble/curves/ed25519.js";
import { expect, test } from "vitest";
import { toBase64url } from "../codec/base64url.ts";
import { KeyRing, thumbprint, validatePublicKey } from "./keys.ts";
import { codeOf, coreSigner, daemon, recordOf } from "../sample.ts";

const ORDER_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";

test("a key made the usual way is taken", () => {
  expect(() => validatePublicKey(daemon.publicKey)).not.toThrow();
});

test("a mixed-order key is refused: verifiers disagree about it", () => {
  const torsion = ed25519.Point.fromHex(ORDER_8);
  const mixed = ed25519.Point.fromBytes(daemon.publicKey).add(torsion).toBytes();
  expect(ed25519.Point.fromBytes(mixed).isSmallOrder()).toBe(false);
  expect(codeOf(() => validatePublicKey(mixed))).toBe("envelope.unknown_key");
});

test.each([
  ["no point of the curve", "0200000000000000000000000000000000000000000000000000000000000000"],
  ["x = 0 with its sign set", "0100000000000000000000000000000000000000000000000000000000000080"],
  ["y = p", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"],
  ["too long", "00".repeat(33)],
  ["empty", ""],
])("%s is refused", (_what, hex) => {
  expect(codeOf(() => validatePublicKey(Buffer.from(hex, "hex")))).toBe("envelope.unknown_key");
});

test("the thumbprint is RFC 7638's for the key of RFC 8037", () => {
  const publicKey = Buffer.from("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "base64url");
  expect(thumbprint(publicKey)).toBe("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
});

test.each([
  ["a kid that is not its thumbprint", recordOf(daemon, { kid: coreSigner.kid })],
  ["a public key that is not base64url", recordOf(daemon, { public_key_b64u: "a+b=" })],
  ["a padded public key", recordOf(daemon, { public_key_b64u: `${toBase64url(daemon.publicKey)}=` })],
  ["a validity that is no instant", recordOf(daemon, { not_after: "never" })],
  ["a revocation that is no instant", recordOf(daemon, { revoked_at: "2026" })],
])("a ring refuses %s and keeps what it had", (_what, record) => {
  const ring = new KeyRing([recordOf(coreSigner)]);
  expect(codeOf(() => ring.replace([record]))).toBe("envelope.unknown_key");
  expect(ring.records().map(({ kid }) => kid)).toEqual([coreSigner.kid]);
});

test("replacing drops what is gone and takes what a known key's record now says", () => {
  const ring = new KeyRing([recordOf(daemon), recordOf(coreSigner)]);
  const before = ring.get(daemon.kid);
  ring.replace([recordOf(daemon, { revoked_at: "2026-05-01T00:00:00.000Z" })]);
  expect(ring.get(coreSigner.kid)).toBeUndefined();
  expect(ring.get(daemon.kid)?.revokedAtMs).toBe(Date.parse("2026-05-01T00:00:00.000Z"));
  expect(ring.get(daemon.kid)?.object).toBe(before?.object);
});

test("keys that were validated when they were registered cost no arithmetic until they are used", () => {
  const weak = recordOf(daemon, { kid: "weak", public_key_b64u: "AAAA" });
  const ring = new KeyRing([weak, recordOf(daemon)], { validated: "first use" });
  expect(ring.get("weak")).toBeUndefined();
  const used = ring.get(daemon.kid);
  expect(used?.record).toEqual(recordOf(daemon));
  ring.replace([recordOf(daemon, { not_after: "never" })]);
  expect(ring.get(daemon.kid)).toBeUndefined();
  ring.replace([weak, recordOf(daemon, { revoked_at: "2026-01-01T00:00:00.000Z" })]);
  expect(ring.get(daemon.kid)?.object).toBe(used?.object);
  expect(ring.get(daemon.kid)?.revokedAtMs).toBe(Date.parse("2026-01-01T00:00:00.000Z"));
  expect(ring.records()).toHaveLength(2);
});
