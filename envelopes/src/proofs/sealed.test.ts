import {
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  randomBytes,
} from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { FabricError } from "../errors/errors.ts";
import {
  generateSealKeys,
  lengthPrefixed,
  MAX_CREDENTIAL_BYTES,
  open,
  packFields,
  type SealContext,
  seal,
  sealInfo,
  sealKeysFrom,
  unpackFields,
} from "./sealed.ts";

const CONTEXT: SealContext = {
  leaseId: "lease-1",
  daemon: "daemon:irc:libera",
  workspaceId: "ws1",
  identityId: "2id",
  ticketHash: "hash",
};
const INFO = sealInfo(CONTEXT);
const FIELDS = { password: Buffer.from("correct horse"), account: Buffer.from("alice") };

async function codeOf(act: () => unknown): Promise<string> {
  try {
    await act();
    return "accepted";
  } catch (error) {
    if (error instanceof FabricError) return error.code;
    throw error;
  }
}

test("only the recipient with the same context opens it", async () => {
  const keys = await generateSealKeys();
  const sealed = await seal(keys.publicKey, INFO, FIELDS);
  const opened = await open(keys.privateKey, INFO, sealed);
  expect(Object.keys(opened).sort()).toEqual(["account", "password"]);
  expect(Buffer.from(opened.password as Uint8Array).toString()).toBe("correct horse");

  const other = await generateSealKeys();
  expect(await codeOf(() => open(other.privateKey, INFO, sealed))).toBe("vault.unavailable");
});

test("every part of the context is bound, and shifting bytes between parts is another context", async () => {
  const keys = await generateSealKeys();
  const sealed = await seal(keys.publicKey, INFO, FIELDS);
  const others: Partial<SealContext>[] = [
    { leaseId: "lease-2" },
    { daemon: "daemon:irc:oftc" },
    { workspaceId: "ws12", identityId: "id" },
    { workspaceId: "ws2" },
    { identityId: "other" },
    { ticketHash: "other" },
  ];
  for (const other of others) {
    const info = sealInfo({ ...CONTEXT, ...other });
    expect(await codeOf(() => open(keys.privateKey, info, sealed))).toBe("vault.unavailable");
  }
});

test("an altered ciphertext, tag or encapsulated key does not open", async () => {
  const keys = await generateSealKeys();
  const { enc, ct } = await seal(keys.publicKey, INFO, FIELDS);
  const flip = (text: string, at: number): string => {
    const bytes = Buffer.from(text, "base64url");
    bytes[at] = (bytes[at] as number) ^ 1;
    return bytes.toString("base64url");
  };
  const size = Buffer.from(ct, "base64url").byteLength;
  const broken = [
    { enc, ct: flip(ct, 0) },
    { enc, ct: flip(ct, size - 1) },
    { enc, ct: ct.slice(0, -16) },
    { enc: flip(enc, 0), ct },
    { enc: Buffer.alloc(32).toString("base64url"), ct },
    { enc: "", ct },
    { enc, ct: "" },
    { enc, ct: `${ct}=` },
  ];
  for (const sealed of broken) {
    expect(await codeOf(() => open(keys.privateKey, INFO, sealed))).toBe("vault.unavailable");
  }
});

test("a key of small order or wrong length cannot be sealed to", async () => {
  const one = Buffer.alloc(32);
  one[0] = 1;
  for (const key of [Buffer.alloc(32), one, Buffer.alloc(31, 9), Buffer.alloc(0)]) {
    expect(await codeOf(() => seal(key, INFO, FIELDS))).toBe("envelope.unknown_key");
  }
});

test("a stored private key gives its pair again", async () => {
  const keys = await generateSealKeys();
  expect(Buffer.from(sealKeysFrom(keys.privateKey).publicKey)).toEqual(Buffer.from(keys.publicKey));
  expect(await codeOf(() => sealKeysFrom(randomBytes(31)))).toBe("vault.unavailable");
});

test("its length tells nothing of a short secret", async () => {
  const { publicKey } = await generateSealKeys();
  const short = await seal(publicKey, INFO, { password: Buffer.from("a") });
  const long = await seal(publicKey, INFO, { password: Buffer.alloc(100, "b") });
  expect(short.ct.length).toBe(long.ct.length);
});

test("RFC 9180 as written, opened without the library", async () => {
  const keys = await generateSealKeys();
  const { enc, ct } = await seal(keys.publicKey, INFO, FIELDS);
  const plain = openByHand(
    keys.privateKey,
    Buffer.from(enc, "base64url"),
    INFO,
    Buffer.from(ct, "base64url"),
  );
  expect(Buffer.from(unpackFields(plain).password as Uint8Array).toString()).toBe("correct horse");
});

test("packed fields come back, whatever they hold", () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9_]{0,20}(:[!-~äш世]{1,20})?$/);
  fc.assert(
    fc.property(
      fc.dictionary(name, fc.uint8Array({ maxLength: 300 }), { noNullPrototype: true }),
      (fields) => {
        const packed = packFields(fields);
        expect(packed.byteLength % 256).toBe(0);
        const back = unpackFields(packed);
        expect(Object.keys(back).sort()).toEqual(Object.keys(fields).sort());
        for (const [key, value] of Object.entries(fields)) {
          expect(Buffer.from(back[key] as Uint8Array)).toEqual(Buffer.from(value));
        }
      },
    ),
  );
});

test("any bytes whatever unpack or fail as one code", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      try {
        expect([...packFields(unpackFields(bytes))].slice(0, bytes.length)).toEqual([...bytes]);
      } catch (error) {
        if (!(error instanceof FabricError)) throw error;
        expect(error.code).toBe("vault.unavailable");
      }
    }),
  );
});

test("fields out of bounds are refused", async () => {
  const cases: Record<string, Uint8Array>[] = [
    { Password: Buffer.from("x") },
    { "": Buffer.from("x") },
    { "channel_key:": Buffer.from("x") },
    { "channel_key:#a\nb": Buffer.from("x") },
    { [`channel_key:#${"x".repeat(264)}`]: Buffer.from("x") },
    { big: Buffer.alloc(MAX_CREDENTIAL_BYTES) },
    Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`f${i}`, Buffer.alloc(1)])),
    Object.fromEntries([["__proto__", Buffer.alloc(1)]]),
  ];
  for (const fields of cases) expect(await codeOf(() => packFields(fields))).toBe("envelope.schema");
});

test("length prefixes keep parts apart", () => {
  const parts = fc.array(fc.string({ unit: "grapheme", maxLength: 8 }), { maxLength: 6 });
  fc.assert(
    fc.property(parts, parts, (a, b) => {
      const equal = Buffer.from(lengthPrefixed(a)).equals(lengthPrefixed(b));
      expect(equal).toBe(JSON.stringify(a) === JSON.stringify(b));
    }),
  );
  expect(() => lengthPrefixed(["\ud800"])).toThrow(FabricError);
});

/** RFC 9180 sections 4.1 and 5.1, base mode, with node:crypto alone. */
function openByHand(privateKey: Uint8Array, enc: Buffer, info: Uint8Array, ct: Buffer): Uint8Array {
  const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b656e04220420", "hex"), privateKey]);
  const secret = createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
  const spki = Buffer.concat([Buffer.from("302a300506032b656e032100", "hex"), enc]);
  const dh = diffieHellman({
    privateKey: secret,
    publicKey: createPublicKey({ key: spki, format: "der", type: "spki" }),
  });
  const own = createPublicKey(secret).export({ format: "der", type: "spki" }).subarray(-32);

  const kem = Buffer.concat([Buffer.from("KEM"), Buffer.from([0x00, 0x20])]);
  const hpke = Buffer.concat([Buffer.from("HPKE"), Buffer.from([0x00, 0x20, 0x00, 0x01, 0x00, 0x02])]);
  const extract = (suite: Buffer, salt: Uint8Array, label: string, ikm: Uint8Array) =>
    createHmac("sha256", salt)
      .update(Buffer.concat([Buffer.from("HPKE-v1"), suite, Buffer.from(label), ikm]))
      .digest();
  const expand = (suite: Buffer, prk: Buffer, label: string, context: Uint8Array, length: number) => {
    const size = Buffer.from([length >> 8, length & 0xff]);
    const text = Buffer.concat([size, Buffer.from("HPKE-v1"), suite, Buffer.from(label), context]);
    return createHmac("sha256", prk)
      .update(Buffer.concat([text, Buffer.from([1])]))
      .digest()
      .subarray(0, length);
  };

  const eae = extract(kem, Buffer.alloc(0), "eae_prk", dh);
  const shared = expand(kem, eae, "shared_secret", Buffer.concat([enc, own]), 32);
  const empty = Buffer.alloc(0);
  const context = Buffer.concat([
    Buffer.from([0]),
    extract(hpke, empty, "psk_id_hash", empty),
    extract(hpke, empty, "info_hash", info),
  ]);
  const prk = extract(hpke, shared, "secret", empty);
  const key = expand(hpke, prk, "key", context, 32);
  const nonce = expand(hpke, prk, "base_nonce", context, 12);
  const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: 16 });
  decipher.setAuthTag(ct.subarray(-16));
  return Buffer.concat([decipher.update(ct.subarray(0, -16)), decipher.final()]);
}
