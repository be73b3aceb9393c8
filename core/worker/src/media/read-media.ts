/** Finds media by workspace and hash, and opens any part of it. */
import { open, type Range, sealedBytes, sealedRange } from "@linkspan/media";
import { mediaByHash, type StoredMedia } from "@linkspan/store";
import type { Core } from "../core.ts";
import { MEDIA_KEY, mediaOf } from "./media.ts";

/** Holds a key until it was read to the end, or is disposed of. */
export interface ReadableMedia extends Disposable {
  readonly media: StoredMedia;
  /**
   * @param range within the media; undefined for all of it
   * @throws FabricError `media.damaged` where bytes are missing or changed; everything before was as it was stored
   */
  read(range: Range | undefined): AsyncGenerator<Uint8Array>;
}

/**
 * @returns undefined when the workspace has none with this hash, or its key was shredded
 * @throws FabricError `media.unavailable`, `vault.sealed`, `vault.unavailable`, `store.unavailable`
 */
export async function findMedia(
  core: Core,
  workspaceId: string,
  sha256: Uint8Array,
): Promise<ReadableMedia | undefined> {
  const { store } = mediaOf(core);
  const media = await mediaByHash(core.database.pool, workspaceId, sha256);
  if (media === undefined) return undefined;
  const { object, bytes, keyVersion } = media;
  const derived = await core.vault.deriveKey(workspaceId, MEDIA_KEY, keyVersion);
  if (derived === undefined) return undefined;
  return {
    media,
    async *read(range = { from: 0, to: bytes - 1 }) {
      const stored = bytes === 0 ? { from: 0, to: sealedBytes(0) - 1 } : sealedRange(bytes, range);
      const source = store.read(object, stored.from, stored.to);
      try {
        yield* open(derived.key, { workspaceId, object }, bytes, range, source);
      } finally {
        derived.key.fill(0);
      }
    },
    [Symbol.dispose]() {
      derived.key.fill(0);
    },
  };
}
