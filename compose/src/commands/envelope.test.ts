/** The line filters on the golden vectors, in this process; `tests/compose/envelope-filters.test.ts` runs the command. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ENVELOPE_TYPE, FabricError } from "@linkspan/envelopes";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { canonicalFilter, type Filter, filterLines, idFilter, signFilter, verifyFilter } from "./envelope.ts";

interface Valid {
  readonly name: string;
  readonly identity: unknown[];
  readonly message_id: string;
  readonly trace_id: string;
  readonly topic: string;
  readonly envelope: unknown;
  readonly body_b64: string;
  readonly kid: string;
  readonly sig: string;
}

interface Invalid {
  readonly name: string;
  readonly code: string;
  readonly body_b64?: string;
  readonly body_fill?: readonly [count: number, byte: string];
  readonly kid: string;
  readonly sig: string;
  readonly topic: string;
}

const VECTORS = join(import.meta.dirname, "../../../envelopes/vectors");
const KEYS = join(VECTORS, "keys.json");
const AT = "2026-11-20T12:00:00.000Z";

function lines<T>(name: string): T[] {
  const text = readFileSync(join(VECTORS, name), "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as T);
}

const valid = lines<Valid>("envelope-valid.jsonl");
const everyInvalid = lines<Invalid>("envelope-invalid.jsonl");

let directory: string;
let seed: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "linkspan-filters-"));
  seed = join(directory, "seed");
  const seeds = JSON.parse(readFileSync(join(VECTORS, "seeds.json"), "utf8")) as { daemon_seed_hex: string };
  writeFileSync(seed, `${seeds.daemon_seed_hex}\n`);
});
afterAll(() => rmSync(directory, { recursive: true }));

/** @returns the answers as text and as JSON, and how many lines failed */
async function through(filter: Filter, input: readonly string[] | Uint8Array) {
  const bytes = input instanceof Uint8Array ? input : Buffer.from(input.map((line) => `${line}\n`).join(""));
  const told: string[] = [];
  const objects: unknown[] = [];
  const failures = await filterLines(chunked(bytes), filter, ({ text, json }) => {
    told.push(text);
    objects.push(JSON.parse(json));
    return Promise.resolve();
  });
  return { told, objects, failures };
}

/** In pieces, as a pipe gives them. */
async function* chunked(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 65_536)
    yield await Promise.resolve(bytes.subarray(at, at + 65_536));
}

function bodyOf({ body_b64, body_fill }: Pick<Invalid, "body_b64" | "body_fill">): Buffer {
  if (body_fill !== undefined) return Buffer.alloc(body_fill[0], Number.parseInt(body_fill[1], 16));
  return Buffer.from(body_b64 ?? "", "base64");
}

/** Payload in the standard alphabet or the URL's; the signature as it was in the header. */
function dsse(line: Invalid | Valid, alphabet: "base64" | "base64url" = "base64"): string {
  return JSON.stringify({
    payload: bodyOf(line).toString(alphabet),
    payloadType: ENVELOPE_TYPE,
    signatures: [{ keyid: line.kid, sig: line.sig }],
  });
}

describe("the vectors", () => {
  test("canonical, sign and id give what they say", async () => {
    const envelopes = valid.map(({ envelope }) =>
      JSON.stringify(envelope, undefined, 1).replaceAll("\n", " "),
    );
    const canonical = await through(canonicalFilter, envelopes);
    expect(canonical.told).toEqual(valid.map((line) => bodyOf(line).toString("utf8")));

    const signed = await through(signFilter(seed), envelopes);
    expect(signed.told.map((line) => JSON.parse(line) as unknown)).toEqual(
      valid.map((line) => JSON.parse(dsse(line)) as unknown),
    );

    const ids = await through(
      idFilter,
      valid.map(({ identity }) => JSON.stringify(identity)),
    );
    expect(ids.told).toEqual(valid.map(({ message_id, trace_id }) => `${message_id} ${trace_id}`));
    expect([canonical.failures, signed.failures, ids.failures]).toEqual([0, 0, 0]);
  });

  test("each valid line is verified, in either alphabet of base64, and on its topic", async () => {
    const expected = valid.map(({ kid, message_id }) => `ok ${kid} ${message_id}`);
    for (const alphabet of ["base64", "base64url"] as const) {
      const done = await through(
        verifyFilter({ keys: KEYS, at: AT }),
        valid.map((line) => dsse(line, alphabet)),
      );
      expect(done.told).toEqual(expected);
      expect(done.failures).toBe(0);
    }
    const [first] = valid as [Valid];
    const done = await through(verifyFilter({ keys: KEYS, at: AT, topic: first.topic }), [dsse(first)]);
    expect(done.told).toEqual(expected.slice(0, 1));
  });

  test("each invalid line fails with exactly its code, and is counted", async () => {
    // Padding is refused in the header; the JSON form takes base64 with or without it.
    const invalid = everyInvalid.filter(({ name }) => name !== "padded-base64url");
    expect(invalid).toHaveLength(everyInvalid.length - 1);
    const [topic, ...others] = new Set(invalid.map((line) => line.topic));
    expect(others).toEqual([]);
    const done = await through(
      verifyFilter({ keys: KEYS, at: AT, topic: topic ?? "" }),
      invalid.map((line) => dsse(line)),
    );
    const told = done.told.map((line, index) => `${invalid[index]?.name} ${line.split(" ")[0]}`);
    expect(told).toEqual(invalid.map(({ name, code }) => `${name} ${code}`));
    expect(done.failures).toBe(invalid.length);
  });
});

test("a line that cannot be becomes its code; the others are answered all the same, in their places", async () => {
  const input = Buffer.concat([
    Buffer.from('{"b":1,"a":2}\n'),
    Buffer.from('{"a":1,"a":2}\n'),
    Buffer.from('{"a":{"x":1,"\\u0078":2}}\n'),
    Buffer.from("[-0]\n"),
    Buffer.from('"\\ud800"\n'),
    Buffer.from("[1e400]\n"),
    Buffer.from("{\n"),
    Buffer.from("\n"),
    Buffer.from([0x22, 0xff, 0x22, 0x0a]),
    Buffer.from("\uFEFF1\n"),
    // U+2028 ends no line, and a carriage return is white space.
    Buffer.from('"\u2028"\r\n'),
    Buffer.from('{"__proto__":1.0,"__proto":":"}'),
  ]);
  const { told, failures } = await through(canonicalFilter, input);
  expect(told.map((line) => (/^[a-z]/.test(line) ? line.split(" ")[0] : line))).toEqual([
    '{"a":2,"b":1}',
    "envelope.not_canonical",
    "envelope.not_canonical",
    "envelope.not_canonical",
    "envelope.not_canonical",
    "envelope.not_canonical",
    "envelope.malformed",
    "envelope.malformed",
    "envelope.not_utf8",
    "envelope.not_utf8",
    '"\u2028"',
    '{"__proto":":","__proto__":1}',
  ]);
  expect(failures).toBe(9);
});

test("what is no DSSE object, no signature or another type's has its code", async () => {
  const good = JSON.parse(dsse(valid[0] as Valid)) as { signatures: [{ sig: string; keyid: string }] };
  const [{ sig, keyid }] = good.signatures;
  const standard = Buffer.from(sig, "base64url").toString("base64");
  const cases: readonly [unknown, string][] = [
    [{ ...good, signatures: [{ keyid, sig: standard }] }, "ok"],
    [{ ...good, signatures: [{ keyid, sig: `${sig}==` }] }, "ok"],
    [{ ...good, signatures: [] }, "envelope.unsigned"],
    [{ ...good, signatures: [{ keyid }] }, "envelope.unsigned"],
    [{ ...good, payloadType: "application/vnd.msgr.ticket.v1+json" }, "envelope.bad_signature"],
    [{ ...good, payload: "not base64!" }, "envelope.malformed"],
    [{ ...good, more: 1 }, "envelope.malformed"],
    [[], "envelope.malformed"],
    [null, "envelope.malformed"],
  ];
  const done = await through(
    verifyFilter({ keys: KEYS, at: AT }),
    cases.map(([value]) => JSON.stringify(value)),
  );
  expect(done.told.map((line) => line.split(" ")[0])).toEqual(cases.map(([, code]) => code));
});

test("an envelope that would be refused is not signed, and no identity is made of what is none", async () => {
  const envelope = valid[0]?.envelope as Record<string, unknown>;
  const signed = await through(signFilter(seed), [
    JSON.stringify({ ...envelope, extra: 1 }),
    JSON.stringify({ ...envelope, action: "no_such" }),
    "[]",
  ]);
  expect(signed.told.map((line) => line.split(" ")[0])).toEqual([
    "envelope.schema",
    "action.unsupported",
    "envelope.schema",
  ]);
  const ids = await through(idFilter, ['"event"', "[]", "[1.5]", "[null]", '["note",1]']);
  expect(ids.told.map((line) => line.split(" ")[0])).toEqual([
    ...Array<string>(4).fill("envelope.schema"),
    expect.stringMatching(/^[A-Za-z0-9_-]{43}$/),
  ]);
});

test("each answer is an object, too", async () => {
  const done = await through(idFilter, ['["note","core","changed","1"]', "{"]);
  expect(done.objects).toEqual([
    { message_id: expect.any(String) as string, trace_id: expect.any(String) as string },
    { ok: false, code: "envelope.malformed", detail: expect.any(String) as string },
  ]);
});

test("files that are not what they should be are refused before any line is read", () => {
  const odd = join(directory, "odd");
  writeFileSync(odd, "not hexadecimal");
  for (const make of [
    () => signFilter(odd),
    () => signFilter(join(directory, "absent")),
    () => verifyFilter({ keys: odd }),
    () => verifyFilter({ keys: KEYS, topic: "bridge/IRC/x" }),
    () => verifyFilter({ keys: KEYS, at: "yesterday" }),
  ]) {
    expect(make).toThrow(FabricError);
  }
});
