import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  canonical,
  decode,
  decodeBatch,
  encode,
  FabricError,
  formatTopic,
  fromDsse,
  isFabricError,
  KeyRing,
  messageId,
  parseRoutingKey,
  parseTopic,
  partitionOf,
  type Received,
  routeOf,
  routingKey,
  signerFromSeed,
  toDsse,
  traceIdOf,
  validatePublicKey,
} from "./index.ts";
import type { Envelope, KeyRecord } from "./index.ts";
import { ENVELOPE_TYPE } from "./codec/pae.ts";

interface Valid {
  readonly name: string;
  readonly identity: readonly string[];
  readonly message_id: string;
  readonly trace_id: string;
  readonly conversation: string;
  readonly partitions: number;
  readonly partition: number;
  readonly topic: string;
  readonly routing_key: string;
  readonly envelope: Envelope;
  readonly body_b64: string;
  readonly kid: string;
  readonly sig: string;
}

interface Invalid {
  readonly name: string;
  readonly code: string;
  readonly body_b64?: string;
  readonly body_fill?: readonly [number, string];
  readonly kid?: string;
  readonly sig?: string;
  readonly topic: string;
}

const file = (name: string) => readFileSync(new URL(`../vectors/${name}`, import.meta.url), "utf8");
const lines = <T>(name: string) =>
  file(name)
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as T);

const valid = lines<Valid>("envelope-valid.jsonl");
const invalid = lines<Invalid>("envelope-invalid.jsonl");
const weak = lines<{ name: string; public_key_hex: string }>("weak-keys.jsonl");
const { keys: records } = JSON.parse(file("keys.json")) as { keys: KeyRecord[] };
const seeds = JSON.parse(file("seeds.json")) as { daemon_seed_hex: string };
const options = { keys: new KeyRing(records), now: new Date("2026-11-20T00:00:00.000Z") };

function received(vector: Valid | Invalid): Received {
  const { kid, sig, topic } = vector;
  return { body: bodyOf(vector), kid, sig, topic: parseTopic(topic) };
}

function bodyOf(vector: Valid | Invalid): Uint8Array {
  if ("body_fill" in vector && vector.body_fill !== undefined) {
    const [count, byte] = vector.body_fill;
    return Buffer.alloc(count, Number.parseInt(byte, 16));
  }
  return Buffer.from(vector.body_b64 ?? "", "base64");
}

test("the files hold what their README says", () => {
  expect([valid.length, invalid.length, weak.length]).toEqual([12, 44, 7]);
});

test.each(valid)("valid $name: identity, partition, topic and routing key", (vector) => {
  expect(messageId(vector.identity)).toBe(vector.message_id);
  expect(traceIdOf(vector.message_id)).toBe(vector.trace_id);
  expect(partitionOf(vector.conversation, vector.partitions)).toBe(vector.partition);
  expect(formatTopic(parseTopic(vector.topic))).toBe(vector.topic);
  const route = routeOf(vector.envelope, vector.partitions);
  expect(routingKey(route)).toBe(vector.routing_key);
  expect(parseRoutingKey(vector.routing_key)).toEqual(route);
});

test.each(valid)(
  "valid $name: encodes to the same bytes and signature, decodes to the same envelope",
  (vector) => {
    const signer = signerFromSeed(Buffer.from(seeds.daemon_seed_hex, "hex"));
    const signed = encode(vector.envelope, signer);
    expect(Buffer.from(signed.body).toString("base64")).toBe(vector.body_b64);
    expect(Buffer.from(canonical(vector.envelope)).toString("base64")).toBe(vector.body_b64);
    expect(signed.kid).toBe(vector.kid);
    expect(signed.sig).toBe(vector.sig);
    const opened = decode({ ...received(vector), route: parseRoutingKey(vector.routing_key) }, options);
    expect(opened.envelope).toEqual(vector.envelope);
    expect(opened.kid).toBe(vector.kid);
    expect(fromDsse(toDsse(ENVELOPE_TYPE, signed))).toEqual({ type: ENVELOPE_TYPE, ...signed });
  },
);

test.each(invalid)("invalid $name is $code", async (vector) => {
  expect(codeOf(() => decode(received(vector), options))).toBe(vector.code);
  const [result] = await decodeBatch([received(vector)], options);
  expect(isFabricError(result) ? result.code : "opened").toBe(vector.code);
});

test("a batch keeps each result in its place", async () => {
  const mixed = [...valid, ...invalid, ...valid];
  const results = await decodeBatch(mixed.map(received), options);
  const codes = results.map((result) => (result instanceof FabricError ? result.code : "opened"));
  expect(codes).toEqual(mixed.map((vector) => ("code" in vector ? vector.code : "opened")));
  expect(await decodeBatch([], options)).toEqual([]);
});

test.each(weak)("weak key $name is refused", ({ public_key_hex }) => {
  expect(codeOf(() => validatePublicKey(Buffer.from(public_key_hex, "hex")))).toBe("envelope.unknown_key");
});

function codeOf(work: () => unknown): string {
  try {
    work();
    return "none";
  } catch (error) {
    if (isFabricError(error)) return error.code;
    throw error;
  }
}
