/** Signs what comes at the same moment with one signature. */
import { fromBase64url } from "../codec/base64url.ts";
import { BATCH_TYPE, pae } from "../codec/pae.ts";
import type { Signer } from "../codec/sign.ts";
import { leafHash, rootBody, treeOf, writeBatchSignature } from "./signed-batch.ts";

/** Members of one batch: each level of the tree adds 32 bytes to every proof, and a signature costs little by then. */
const MOST = 64;

interface Waiting {
  readonly type: string;
  readonly body: Uint8Array;
  readonly done: PromiseWithResolvers<string>;
}

/**
 * The same key, whose `signLater` signs everything that is asked for in one round of the event loop's tasks together.
 * One alone is signed as usual, so nothing waits for others. Only for receivers that know signed batches.
 */
export function batchSigner(signer: Signer): Signer {
  let waiting: Waiting[] = [];

  function signWaiting(): void {
    const all = waiting;
    waiting = [];
    for (let from = 0; from < all.length; from += MOST) {
      const batch = all.slice(from, from + MOST);
      signTogether(signer, batch).catch((error: unknown) => {
        for (const { done } of batch) done.reject(error);
      });
    }
  }

  return {
    ...signer,
    signLater(type, body) {
      const done = Promise.withResolvers<string>();
      if (waiting.length === 0) queueMicrotask(signWaiting);
      waiting.push({ type, body, done });
      return done.promise;
    },
  };
}

async function signTogether(signer: Signer, batch: readonly Waiting[]): Promise<void> {
  const [only, ...others] = batch;
  if (only === undefined) return;
  if (others.length === 0) {
    only.done.resolve(await signer.signLater(only.type, only.body));
    return;
  }
  const { root, paths } = treeOf(batch.map(({ type, body }) => leafHash(pae(type, body))));
  const size = batch.length;
  const signature = fromBase64url(await signer.signLater(BATCH_TYPE, rootBody(root, size))) as Uint8Array;
  for (const [index, { done }] of batch.entries()) {
    done.resolve(
      writeBatchSignature({ index, size, signature, path: paths[index] as readonly Uint8Array[] }),
    );
  }
}
