import fc from "fast-check";
import { expect, test } from "vitest";
import { fromAnyBase64, fromBase64url, toBase64url } from "./base64url.ts";
import { fromDsse, toDsse } from "./dsse.ts";
import { ENVELOPE_TYPE } from "./pae.ts";
import { codeOf, signed } from "../sample.ts";

const one = toDsse(ENVELOPE_TYPE, signed());
const [signature] = one.signatures;

test("both alphabets, with or without padding, are the same bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const standard = Buffer.from(bytes).toString("base64");
      const url = toBase64url(bytes);
      const padded = url.padEnd(standard.length, "=");
      for (const text of [standard, standard.replace(/=+$/, ""), url, padded]) {
        expect(Buffer.from(fromAnyBase64(text) ?? [1, 2, 3])).toEqual(Buffer.from(bytes));
      }
    }),
  );
});

test.each(["a", "ab=", "abc==", "ab===", "a b=", "a\nbc", "ab+_", "ab/-", "aQ=a", "=", "aR==", "ab!c"])(
  "%j is not base64",
  (text) => {
    expect(fromAnyBase64(text)).toBeUndefined();
  },
);

test.each(["aQ==", "a+b/", "aR", "a", " aQ", "aQ\n"])("%j is not base64url without padding", (text) => {
  expect(fromBase64url(text)).toBeUndefined();
});

test.each<[string, unknown, string]>([
  ["null", null, "envelope.malformed"],
  ["text", "x", "envelope.malformed"],
  ["no payload", { ...one, payload: undefined }, "envelope.malformed"],
  ["a payload that is not base64", { ...one, payload: "*" }, "envelope.malformed"],
  ["a member too many", { ...one, extra: 1 }, "envelope.malformed"],
  ["no signature", { ...one, signatures: [] }, "envelope.unsigned"],
  ["two signatures", { ...one, signatures: [signature, signature] }, "envelope.malformed"],
  [
    "a signature that is not base64",
    { ...one, signatures: [{ ...signature, sig: "*" }] },
    "envelope.bad_signature",
  ],
])("%s is refused", (_what, json, code) => {
  expect(codeOf(() => fromDsse(json))).toBe(code);
});
