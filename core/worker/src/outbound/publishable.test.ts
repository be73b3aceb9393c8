/** What was recorded can be published: with the longest names, a ticket, and signatures of a batch in both. */
import { batchSigner, isFabricError, LIMITS, signerFromSeed } from "@linkspan/envelopes";
import type { Identity, NewIntent, Turn } from "@linkspan/store";
import { expect, test } from "vitest";
import type { Core } from "../core.ts";
import { outgoingLater } from "../send.ts";
import { draftOf, requirePublishable } from "./publishable.ts";

const signer = signerFromSeed(new Uint8Array(32).fill(9));
const core = { signer, namespace: { partitions: 8 }, now: () => new Date() } as unknown as Core;
const instance = "i".repeat(63);
const workspace = "w".repeat(64);
const digest = "A".repeat(43);
const names = { service: "telegram", action: "outbound_message" };
const conversation = `msgr://channels/${workspace}/bridge/telegram/`.padEnd(LIMITS.refBytes, "c");
const user = "u".repeat(LIMITS.idBytes);
const identity = "d".repeat(LIMITS.idBytes);

function isRecorded(chars: number): boolean {
  const wanted = { workspaceId: workspace, userId: user, identityId: identity, conversation, id: digest };
  const traceId = "00000000-0000-8000-8000-000000000000";
  const intent = { ...names, ...wanted, traceId, payload: { text: "x".repeat(chars) } };
  try {
    requirePublishable(core, intent as unknown as NewIntent, { instance } as Identity);
    return true;
  } catch (error) {
    if (isFabricError(error) && error.code === "envelope.too_large") return false;
    throw error;
  }
}

/** The longest text that is recorded, characters. */
function longest(): number {
  let fits = 0;
  let tooLong: number = LIMITS.textBytes;
  while (tooLong - fits > 1) {
    const middle = Math.floor((fits + tooLong) / 2);
    if (isRecorded(middle)) fits = middle;
    else tooLong = middle;
  }
  return fits;
}

test("the largest intent that is recorded is published as one of a full batch", async () => {
  const batches = batchSigner(signer);
  const turnOf = (text: string) =>
    ({
      intent: {
        ...names,
        id: digest,
        workspace_id: workspace,
        user_id: user,
        identity_id: identity,
        conversation,
        payload: { text },
        content: new Uint8Array(32),
        trace_id: "00000000-0000-8000-8000-000000000000",
        attempt: LIMITS.int4,
      },
      instance,
      epoch: Number.MAX_SAFE_INTEGER,
      kid: digest,
    }) as unknown as Turn;
  const texts = ["x".repeat(longest()), ...Array<string>(63).fill("x")];
  const published = await Promise.all(
    texts.map(async (text) =>
      outgoingLater(core, await draftOf(core, turnOf(text), undefined, batches), batches),
    ),
  );
  // An index in 64 places takes six hashes.
  expect(published[0]?.sig).toHaveLength(((5 + 64 + 6 * 32) * 4) / 3);
  expect(published[0]?.body.byteLength).toBeGreaterThan(LIMITS.textBytes - 2_000);
});
