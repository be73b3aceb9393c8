/**
 * Line filters, for authors of daemons in other languages:
 *
 *   canonical        JSON → its canonical form
 *   sign --seed F    envelope JSON → DSSE JSON
 *   verify --keys F  DSSE JSON → `ok <kid> <message_id>` or `<code> <detail>`
 *   id               identity array → `<message_id> <trace_id>`
 *
 * Lines are independent: one that fails becomes `<code> <detail>` and does not stop the others.
 */
import { readFileSync } from "node:fs";
import {
  canonicalText,
  decode,
  ENVELOPE_TYPE,
  encode,
  type Envelope,
  FabricError,
  fromDsse,
  isFabricError,
  KeyRing,
  type KeyRecord,
  KeyRecordSchema,
  messageId,
  parseTopic,
  signerFromSeed,
  toDsse,
  traceIdOf,
} from "@linkspan/envelopes";
import { z } from "zod";
import { parseSeed } from "../keys.ts";
import { linesOf, MAX_LINE_BYTES } from "../lines.ts";
import { parseLine } from "../strict-line.ts";

/** The result for one line. */
export interface Answer {
  readonly text: string;
  /** The same as a line of JSON, for `--json`. */
  readonly json: string;
}

/** Converts one value to one line. @throws FabricError for a value that cannot be converted */
export type Filter = (value: unknown) => Answer;

export const canonicalFilter: Filter = (value) => asIs(canonicalText(value));

/** @param path file with 32 bytes in hexadecimal */
export function signFilter(path: string): Filter {
  const signer = signerFromSeed(parseSeed(readText(path), path));
  return (value) => asIs(JSON.stringify(toDsse(ENVELOPE_TYPE, encode(value as Envelope, signer))));
}

export interface VerifyOptions {
  /** File of key records, as `{"keys": [...]}`. */
  readonly keys: string;
  readonly topic?: string;
  /** Default now. */
  readonly at?: string;
}

export function verifyFilter(options: VerifyOptions): Filter {
  const keys = new KeyRing(readKeys(options.keys));
  const topic = options.topic === undefined ? undefined : parseTopic(options.topic);
  const at = options.at === undefined ? undefined : new Date(options.at);
  if (Number.isNaN(at?.getTime())) throw new FabricError("request.invalid", "--at is not a time");
  return (value) => {
    refuseMissingSignature(value);
    const { type, body, kid, sig } = fromDsse(value);
    if (type !== ENVELOPE_TYPE) {
      throw new FabricError(
        "envelope.bad_signature",
        `the signature is for another type than ${ENVELOPE_TYPE}`,
      );
    }
    const received = { body, kid, sig, ...(topic !== undefined && { topic }) };
    const opened = decode(received, { keys, now: at ?? new Date(), signatures: "required" });
    const { message_id } = opened.envelope.metadata;
    return { text: `ok ${kid} ${message_id}`, json: JSON.stringify({ ok: true, kid, message_id }) };
  };
}

function refuseMissingSignature(value: unknown): void {
  const { signatures } = (value ?? {}) as { signatures?: unknown };
  const [first] = Array.isArray(signatures) ? (signatures as unknown[]) : [];
  const { sig } = (first ?? {}) as { sig?: unknown };
  if (first !== undefined && (sig === undefined || sig === null || sig === "")) {
    throw new FabricError("envelope.unsigned", "there is no signature");
  }
}

export const idFilter: Filter = (value) => {
  if (!isIdentity(value)) {
    throw new FabricError("envelope.schema", "an identity is an array of strings and safe integers");
  }
  const message_id = messageId(value);
  const trace_id = traceIdOf(message_id);
  return { text: `${message_id} ${trace_id}`, json: JSON.stringify({ message_id, trace_id }) };
};

function isIdentity(value: unknown): value is (string | number)[] {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((item) => typeof item === "string" || Number.isSafeInteger(item))
  );
}

/**
 * @param write resolves when the next line may be written
 * @returns how many lines failed
 */
export async function filterLines(
  input: AsyncIterable<Uint8Array>,
  filter: Filter,
  write: (answer: Answer) => Promise<void>,
): Promise<number> {
  let failures = 0;
  for await (const line of linesOf(input)) {
    const answer = answerTo(line, filter);
    if (isFabricError(answer)) failures += 1;
    await write(isFabricError(answer) ? failed(answer) : answer);
  }
  return failures;
}

function answerTo(line: Uint8Array | undefined, filter: Filter): Answer | FabricError {
  try {
    if (line === undefined) {
      throw new FabricError("envelope.too_large", `the line is longer than ${MAX_LINE_BYTES} bytes`);
    }
    return filter(parseLine(line));
  } catch (error) {
    if (isFabricError(error)) return error;
    throw error;
  }
}

function failed({ code, message }: FabricError): Answer {
  const detail = message.replaceAll(/[\u0000-\u001f\u007f\u2028\u2029]+/g, " ");
  return { text: `${code} ${detail}`, json: JSON.stringify({ ok: false, code, detail }) };
}

function asIs(json: string): Answer {
  return { text: json, json };
}

const KeyFile = z.object({ keys: z.array(KeyRecordSchema.strip()) });

function readKeys(path: string): readonly KeyRecord[] {
  const text = readText(path);
  try {
    return KeyFile.parse(JSON.parse(text)).keys;
  } catch (cause) {
    throw new FabricError("request.invalid", `${path} does not hold {"keys": [...]} with key records`, {
      cause,
    });
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new FabricError("request.invalid", `${path} cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}
