/** Verification with all of the contract's checks, against the bare signature on the same threads. */
import { createPublicKey, verify as verifyBytes } from "node:crypto";
import { promisify } from "node:util";
import { decodeBatch, ENVELOPE_TYPE, fromBase64url, isFabricError, KeyRing, pae } from "@linkspan/envelopes";
import { type Contest, timed } from "./compare.ts";
import { corpus, PARTITIONS, record, type Signed, signer } from "./corpus.ts";

const verifyLater = promisify(verifyBytes);
const BATCH = 500;
const IN_FLIGHT = 128;

export function verifyContest(count: number): Contest {
  const messages = corpus(count, "verify");
  const keys = new KeyRing([record]);
  return {
    name: "verify",
    floor: 0.9,
    ours: () => timed(count, () => decodeAll(messages, keys)),
    yardstick: () => timed(count, () => verifyAll(messages)),
  };
}

/** As the worker does: while one batch is looked at, the next one's signatures are under way. */
async function decodeAll(messages: readonly Signed[], keys: KeyRing): Promise<void> {
  const options = { keys, now: new Date(), partitions: PARTITIONS, signatures: "required" as const };
  const pending: Promise<unknown>[] = [];
  for (let from = 0; from < messages.length; from += BATCH) {
    const batch = decodeBatch(messages.slice(from, from + BATCH), options).then((results) => {
      for (const result of results) if (isFabricError(result)) throw result;
    });
    pending.push(batch);
    if (pending.length === 2) await pending.shift();
  }
  await Promise.all(pending);
}

async function verifyAll(messages: readonly Signed[]): Promise<void> {
  const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), signer.publicKey]);
  const key = createPublicKey({ key: der, format: "der", type: "spki" });
  let next = 0;
  const lane = async () => {
    while (next < messages.length) {
      const message = messages[next++] as Signed;
      const sig = fromBase64url(message.sig) as Uint8Array;
      const good = await verifyLater(null, pae(ENVELOPE_TYPE, message.body), key, sig);
      if (!good) throw new Error("a good signature was refused");
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
}
