/**
 * Receiving an envelope. The order is the contract's (section 3) and each step has a file: size, signature
 * over the received bytes (proof), strict UTF-8, depth, parse, canonical form (strict-json), schema (check),
 * topic and issuer, expiry (agreement). Replay is the core's: only it knows what it has seen.
 */
import type { ActionDef } from "../names/actions.ts";
import {
  checkClock,
  checkConversation,
  checkIssuer,
  checkKeyScope,
  checkRoute,
  checkTopic,
} from "./agreement.ts";
import { type Checked, check } from "./check.ts";
import type { Envelope } from "./envelope.ts";
import { FabricError, isFabricError } from "../errors/errors.ts";
import { liftForeign } from "../msgr/foreign.ts";
import type { Key } from "../proofs/keys.ts";
import { ENVELOPE_TYPE } from "./pae.ts";
import { type Claim, claimOf, prove, proveAllLater } from "../proofs/proof.ts";
import type { DecodeOptions, Received } from "./received.ts";
import { checkSize, MAX_BYTES, parseCanonical, parseForeign } from "./strict-json.ts";
import { DEFAULT_PARTITIONS } from "../names/topics.ts";

/** An envelope with the bytes and the key that proved it. */
export interface Opened {
  readonly envelope: Envelope;
  readonly body: Uint8Array;
  /** Undefined: unsigned, on a development namespace. */
  readonly kid: string | undefined;
  readonly action: ActionDef;
}

/**
 * Envelopes whose signatures are checked together, and which are then opened one after the other: faster than each
 * after its own signature, as the processor keeps the code of that step in its caches.
 */
const PIECE = 64;
/** Pieces in work at once: enough to outlast a pause of the event loop. Each has a mebibyte and one body more at most. */
const PIECES_IN_FLIGHT = 8;

/**
 * @throws FabricError `envelope.*`, `action.unsupported`; nothing else for any bytes whatever
 * @see vectors/envelope-invalid.jsonl
 */
export function decode(received: Received, options: DecodeOptions): Opened {
  checkSize(received.body.byteLength);
  if (isForeign(received, options)) return openForeign(received, options);
  const claim = signatureOf(received, options);
  prove(claim);
  return open(received, options, claim.key);
}

/**
 * As {@link decode} for many, with the signatures checked off the event loop. Never rejects: what is
 * refused stands as its error in its place.
 */
export async function decodeBatch(
  batch: readonly Received[],
  options: DecodeOptions,
): Promise<(Opened | FabricError)[]> {
  const results: (Opened | FabricError)[] = [];
  let next = 0;

  async function decodePieces(): Promise<void> {
    while (next < batch.length) {
      const piece = takePiece();
      const errors = await proveAllLater(piece.map(({ claim }) => claim));
      for (const [at, { index, received, claim }] of piece.entries()) {
        results[index] = errors[at] ?? attempt(() => open(received, options, claim.key));
      }
    }
  }

  /** Results that need no proof, or can have none, are settled at once. */
  function takePiece(): Begun[] {
    const piece: Begun[] = [];
    let bytes = 0;
    while (next < batch.length && piece.length < PIECE && bytes < MAX_BYTES) {
      const index = next++;
      const received = batch[index] as Received;
      const claim = attempt(() => begin(received, options));
      if (isFabricError(claim) || "envelope" in claim) {
        results[index] = claim;
        continue;
      }
      piece.push({ index, received, claim });
      bytes += received.body.byteLength;
    }
    return piece;
  }

  await Promise.all(Array.from({ length: PIECES_IN_FLIGHT }, decodePieces));
  return results;
}

interface Begun {
  readonly index: number;
  readonly received: Received;
  readonly claim: Claim;
}

function begin(received: Received, options: DecodeOptions): Claim | Opened {
  checkSize(received.body.byteLength);
  return isForeign(received, options) ? openForeign(received, options) : signatureOf(received, options);
}

function signatureOf(received: Received, options: DecodeOptions): Claim {
  return claimOf(ENVELOPE_TYPE, "envelope", received, options.keys, options.now.getTime());
}

function open(received: Received, options: DecodeOptions, key: Key): Opened {
  const checked = check(parseCanonical(received.body));
  agree(checked, received, options);
  checkKeyScope(checked.envelope, key.record);
  return finish(checked, received, options);
}

function openForeign(received: Received, options: DecodeOptions): Opened {
  const parsed = parseForeign(received.body);
  const checked = check(liftForeign(parsed, received, options));
  // Its partition is not checked: a foreign SDK knows topics, and nothing of how we spread them.
  const topic = received.topic ?? received.route;
  if (topic !== undefined) checkTopic(checked.envelope, topic);
  return finish(checked, received, options);
}

function agree({ envelope }: Checked, received: Received, options: DecodeOptions): void {
  if (received.topic !== undefined) checkTopic(envelope, received.topic);
  if (received.route !== undefined) {
    checkRoute(envelope, received.route, options.partitions ?? DEFAULT_PARTITIONS);
  }
}

function finish({ envelope, action }: Checked, received: Received, options: DecodeOptions): Opened {
  checkIssuer(envelope, action);
  checkConversation(envelope);
  checkClock(envelope, action, options.now.getTime());
  return { envelope, body: received.body, kid: received.kid, action };
}

function isForeign(received: Received, options: DecodeOptions): boolean {
  return options.signatures === "optional" && received.kid === undefined && received.sig === undefined;
}

function attempt<T>(work: () => T): T | FabricError {
  try {
    return work();
  } catch (error) {
    if (isFabricError(error)) return error;
    return new FabricError("internal", "an envelope could not be read", { cause: error });
  }
}
