import { verify as nodeVerify } from "node:crypto";
import { ed25519 } from "@noble/curves/ed25519.js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { KeyRing } from "./keys.ts";
import { CHECKPOINT_TYPE, ENVELOPE_TYPE, pae, TICKET_TYPE } from "../codec/pae.ts";
import { claimOf, prove } from "./proof.ts";
import { codeOf, NOW, recordOf } from "../sample.ts";
import { signerFromSeed } from "../codec/sign.ts";

const seeds = fc.uint8Array({ minLength: 32, maxLength: 32 });
const bodies = fc.uint8Array({ maxLength: 200 });
const L = 2n ** 252n + 27742317777372353535851937790883648493n;

test("native and noble agree on every signature, sound or altered, of a valid key", () => {
  fc.assert(
    fc.property(
      seeds,
      bodies,
      fc.option(fc.tuple(fc.nat(95), fc.integer({ min: 1, max: 255 }))),
      (seed, body, flip) => {
        const signer = signerFromSeed(seed);
        const message = Buffer.from(pae(ENVELOPE_TYPE, body));
        const signature = Buffer.from(signer.sign(ENVELOPE_TYPE, body), "base64url");
        if (flip !== null) {
          const [at, bits] = flip;
          if (at < 64) signature[at] = (signature[at] as number) ^ bits;
          else message[at % message.length] = (message[at % message.length] as number) ^ bits;
        }
        const key = new KeyRing([recordOf(signer)]).get(signer.kid);
        const native = nodeVerify(null, message, key?.object as never, signature);
        expect(native).toBe(ed25519.verify(signature, message, signer.publicKey, { zip215: false }));
        expect(native).toBe(flip === null);
      },
    ),
    { numRuns: 60 },
  );
});

test("S + L is refused, though it satisfies the equation", () => {
  fc.assert(
    fc.property(seeds, bodies, (seed, body) => {
      const signer = signerFromSeed(seed);
      const signature = Buffer.from(signer.sign(ENVELOPE_TYPE, body), "base64url");
      let s = BigInt(`0x${Buffer.from(signature.subarray(32)).reverse().toString("hex")}`) + L;
      for (let i = 32; i < 64; i++, s >>= 8n) signature[i] = Number(s & 255n);
      expect(proofOf(signer, body, signature.toString("base64url"))).toBe("envelope.bad_signature");
    }),
    { numRuns: 20 },
  );
});

test("no signed kind verifies as another", () => {
  const signer = signerFromSeed(new Uint8Array(32));
  const body = Buffer.from("{}");
  for (const type of [TICKET_TYPE, CHECKPOINT_TYPE]) {
    expect(proofOf(signer, body, signer.sign(type, body))).toBe("envelope.bad_signature");
  }
  expect(proofOf(signer, body, signer.sign(ENVELOPE_TYPE, body))).toBe("none");
});

test.each([
  ["empty", () => ""],
  ["padded", (sig: string) => `${sig}==`],
  ["in the other alphabet", (sig: string) => `${sig.slice(0, -2)}+/`],
  ["with a blank", (sig: string) => `${sig} `],
  ["with a line end", (sig: string) => `${sig}\n`],
  ["with stray bits", (sig: string) => `${sig.slice(0, -1)}${sig.endsWith("B") ? "C" : "B"}`],
  ["a byte short", (sig: string) => sig.slice(0, 84)],
  ["in hex", (sig: string) => Buffer.from(sig, "base64url").toString("hex")],
])("a header signature %s is refused", (_what, alter) => {
  const signer = signerFromSeed(new Uint8Array(32));
  const body = Buffer.from("{}");
  expect(proofOf(signer, body, alter(signer.sign(ENVELOPE_TYPE, body)))).toBe("envelope.bad_signature");
});

test("the encoding before signing is DSSE's", () => {
  expect(Buffer.from(pae("http://example.com/HelloWorld", Buffer.from("hello world"))).toString()).toBe(
    "DSSEv1 29 http://example.com/HelloWorld 11 hello world",
  );
  expect(Buffer.from(pae(ENVELOPE_TYPE, Buffer.from("é"))).toString()).toBe(`DSSEv1 35 ${ENVELOPE_TYPE} 2 é`);
});

function proofOf(signer: ReturnType<typeof signerFromSeed>, body: Uint8Array, sig: string): string {
  const keys = new KeyRing([recordOf(signer)]);
  return codeOf(() =>
    prove(claimOf(ENVELOPE_TYPE, "envelope", { body, kid: signer.kid, sig }, keys, NOW.getTime())),
  );
}
