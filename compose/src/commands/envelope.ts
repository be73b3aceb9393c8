/**
 * Filters over lines, for authors of daemons in other languages:
 *
 *   canonical        JSON → its canonical form
 *   sign --seed F    envelope JSON → DSSE JSON
 *   verify --keys F  DSSE JSON → `ok <kid> <message_id>` or `<code> <detail>`
 *   id               identity array → `<message_id> <trace_id>`
 *
 * Each line stands alone; a line that fails does not stop the rest.
 */
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
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
  messageId,
  parseTopic,
  signerFromSeed,
  toDsse,
  traceIdOf,
} from "@linkspan/envelopes";
import { parseSeed } from "../keys.ts";

/** One line to one line. @throws FabricError for a line that cannot be */
export type Filter = (line: string) => string;

export const canonicalFilter: Filter = (line) => canonicalText(parseJson(line));

/** @param path file with 32 bytes in hexadecimal */
export function signFilter(path: string): Filter {
  const signer = signerFromSeed(parseSeed(readFileSync(path, "utf8"), path));
  return (line) => JSON.stringify(toDsse(ENVELOPE_TYPE, encode(parseJson(line) as Envelope, signer)));
}

export interface VerifyOptions {
  /** File of key records, as `{"keys": [...]}`. */
  readonly keys: string;
  readonly topic?: string;
  /** Default now. */
  readonly at?: string;
}

export function verifyFilter(options: VerifyOptions): Filter {
  const { keys } = JSON.parse(readFileSync(options.keys, "utf8")) as { keys: KeyRecord[] };
  const ring = new KeyRing(keys);
  const topic = options.topic === undefined ? undefined : parseTopic(options.topic);
  const now = options.at === undefined ? new Date() : new Date(options.at);
  if (Number.isNaN(now.getTime())) throw new FabricError("request.invalid", "--at is not a time");
  return (line) => {
    const { type, body, kid, sig } = fromDsse(parseJson(line));
    if (type !== ENVELOPE_TYPE)
      throw new FabricError("envelope.bad_signature", "it is signed as another type");
    const received = { body, kid, sig, ...(topic !== undefined && { topic }) };
    const opened = decode(received, { keys: ring, now, signatures: "required" });
    return `ok ${opened.kid} ${opened.envelope.metadata.message_id}`;
  };
}

export const idFilter: Filter = (line) => {
  const identity = parseJson(line);
  if (!Array.isArray(identity) || identity.length === 0) {
    throw new FabricError("envelope.schema", "an identity is an array of strings");
  }
  const id = messageId(identity as string[]);
  return `${id} ${traceIdOf(id)}`;
};

/** @returns how many lines failed */
export async function filterLines(
  input: NodeJS.ReadableStream,
  filter: Filter,
  write: (line: string) => void,
): Promise<number> {
  let failures = 0;
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    if (line.trim() === "") continue;
    try {
      write(filter(line));
    } catch (error) {
      if (!isFabricError(error)) throw error;
      failures += 1;
      write(`${error.code} ${error.message.replaceAll("\n", " ")}`);
    }
  }
  return failures;
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new FabricError("envelope.malformed", "the line is not JSON", { cause });
  }
}
