import fc from "fast-check";
import { expect, test } from "vitest";
import { type ActionDef, actionsOf, SERVICES } from "../names/actions.ts";
import { valuesOf } from "../testing/arbitrary.ts";
import { decode, decodeBatch } from "./decode.ts";
import type { DecodeOptions } from "./received.ts";
import { EnvelopeSchema, type Envelope, type Metadata } from "./envelope.ts";
import { CODES, isFabricError } from "../errors/errors.ts";
import { KeyRing } from "../proofs/keys.ts";
import { daemon, event, NOW, recordOf, signAnything, signBytes, signed } from "../sample.ts";

const everything = recordOf(daemon, { issuers: ["core", "daemon:irc:libera"], services: ["*"] });
const options: DecodeOptions = { keys: new KeyRing([everything]), now: NOW };

const anyMetadata = valuesOf(EnvelopeSchema.shape.metadata) as fc.Arbitrary<Metadata>;

/** An envelope of any action, sent by who may send it. */
const envelopes = fc.oneof(...SERVICES.flatMap(actionsOf).map(envelopesOf));

function envelopesOf(action: ActionDef): fc.Arbitrary<Envelope> {
  const { service, name } = action;
  return fc.record({ payload: valuesOf(action.payload), any: anyMetadata }).map(({ payload, any }) => {
    const { in_reply_to: _reply, conversation: _elsewhere, expires_at: _late, ...rest } = any;
    const issuer = action.direction === "to_core" ? `daemon:${service}:libera` : "core";
    const metadata = { ...rest, issuer, instance: "libera" };
    return { ...event, service, action: name, payload: payload as Envelope["payload"], metadata };
  });
}

test("decode gives back what encode was given", () => {
  fc.assert(
    fc.property(envelopes, (envelope) => {
      const keys = new KeyRing([recordOf(daemon, { issuers: [envelope.metadata.issuer], services: ["*"] })]);
      const opened = decode(signed(envelope), { ...options, keys });
      expect(opened.envelope).toEqual(envelope);
      expect(Buffer.compare(signed(opened.envelope).body, opened.body)).toBe(0);
    }),
    { numRuns: 300 },
  );
});

/** Bytes of every kind: any, JSON, near misses of an envelope. */
const text = JSON.stringify(event);
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.json().map((json) => Buffer.from(json)),
  fc.string({ unit: "binary" }).map((string) => Buffer.from(string)),
  fc
    .tuple(fc.nat(text.length), fc.nat(4), fc.string({ maxLength: 4 }))
    .map(([at, cut, put]) => Buffer.from(text.slice(0, at) + put + text.slice(at + cut))),
  fc.tuple(fc.nat(), fc.nat(255)).map(([at, byte]) => {
    const body = Buffer.from(text);
    body[at % body.length] = byte;
    return body;
  }),
);

test("any bytes whatever give an envelope or a FabricError with a code of the table", async () => {
  await fc.assert(
    fc.asyncProperty(bytes, fc.option(fc.string()), fc.boolean(), async (body, sig, isForeign) => {
      const received = sig === null ? signBytes(body) : { body, kid: daemon.kid, sig };
      const sent = isForeign ? { body, kid: undefined, sig: undefined } : received;
      const signatures = isForeign ? "optional" : "required";
      const [result] = await decodeBatch([sent], { ...options, signatures });
      expect(
        isFabricError(result)
          ? Object.hasOwn(CODES, result.code) && result.code !== "internal"
          : result?.body === body,
      ).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});

test("an envelope with anything in any one place gives an envelope or a FabricError", () => {
  const places = [
    "schema",
    "service",
    "action",
    "trace_id",
    "occurred_at",
    "metadata",
    "payload",
    ...Object.keys(event.metadata).map((name) => `metadata.${name}`),
  ];
  fc.assert(
    fc.property(
      fc.constantFrom(...places),
      fc.jsonValue().filter((value) => !JSON.stringify(value).includes("-0")),
      (place, value) => {
        const [member = "", name] = place.split(".");
        const changed =
          name === undefined
            ? { ...event, [member]: value }
            : { ...event, metadata: { ...event.metadata, [name]: value } };
        const sent = signAnything(JSON.parse(JSON.stringify(changed)));
        try {
          decode(sent, options);
        } catch (error) {
          expect(isFabricError(error)).toBe(true);
        }
      },
    ),
    { numRuns: 1_000 },
  );
});
