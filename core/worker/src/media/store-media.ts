/**
 * Stores one upload: row, object, then the row names the object by its hash. Whatever step fails, the object is not
 * served and is deleted: here, or by the sweep when this process ends before.
 */
import { FabricError } from "@linkspan/envelopes";
import { cleanName, contentTypeOf, newObject, seal, sealedBytes } from "@linkspan/media";
import {
  audit,
  beginMedia,
  dropMedia,
  forgetMedia,
  keepMedia,
  type StoredMedia,
  touchMedia,
} from "@linkspan/store";
import type { Core } from "../core.ts";
import { Measured } from "./measured.ts";
import { MEDIA_KEY, type MediaLimits, mediaOf } from "./media.ts";

export interface Upload {
  readonly workspaceId: string;
  /** For the audit. */
  readonly actor: string;
  /** As the sender gave it. */
  readonly name: string | undefined;
}

/** An upload whose bytes stay away for an hour is abandoned; it says this much more often that they come. */
const TOUCH_MS = 600_000;
/** The bytes are known, and their object is damaged: it is replaced. More often than this, something else is wrong. */
const REPLACEMENTS = 2;

/**
 * @param source read only as fast as it is stored
 * @returns the workspace's media with these bytes, which may have been there before
 * @throws FabricError `media.too_large`, `media.quota_exceeded`, `media.incomplete`, `media.unavailable`, `vault.*`,
 *   `store.unavailable`, or what the source throws
 */
export async function storeMedia(
  core: Core,
  upload: Upload,
  source: AsyncIterable<Uint8Array>,
): Promise<StoredMedia> {
  const { store, limits } = mediaOf(core);
  const { workspaceId } = upload;
  const derived = await core.vault.deriveKey(workspaceId, MEDIA_KEY);
  if (derived === undefined) throw new FabricError("vault.unavailable", "the workspace's key was shredded");
  const object = newObject();
  await beginMedia(core.database.pool, { object, workspaceId, keyVersion: derived.keyVersion });
  try {
    const measured = new Measured(Math.min(limits.maxBytes, limits.quota.bytes));
    const pieces = measured.of(source, stillThere(core, object));
    await store.put(object, seal(derived.key, { workspaceId, object }, pieces));
    const { head, ...measure } = measured.end();
    const mime = await contentTypeOf(head);
    const kept = await keep(core, upload, { object, ...measure, mime }, limits);
    if (kept.object !== object) await deleteMedia(core, workspaceId, object);
    return kept;
  } catch (error) {
    await deleteMedia(core, workspaceId, object);
    throw error;
  } finally {
    derived.key.fill(0);
  }
}

/** Marks it, deletes the object, then the row. Never rejects: what could not be done is left to the sweep. */
export async function deleteMedia(core: Core, workspaceId: string, object: string): Promise<boolean> {
  try {
    await dropMedia(core.database.pool, object);
    await mediaOf(core).store.delete(object);
    await core.database.transaction((client) => forgetMedia(client, workspaceId, object));
    return true;
  } catch (error) {
    core.log.warn({ event: "media.undeleted", object, err: error }, "an object is deleted by a later sweep");
    return false;
  }
}

async function keep(
  core: Core,
  { workspaceId, actor, name }: Upload,
  written: Pick<StoredMedia, "object" | "sha256" | "bytes" | "mime">,
  { quota }: MediaLimits,
): Promise<StoredMedia> {
  for (let replaced = 0; ; replaced += 1) {
    const { outcome, media } = await core.database.transaction(async (client) => {
      const kept = await keepMedia(client, { ...written, workspaceId, name: cleanName(name) }, quota);
      if (!("media" in kept)) throw kept.outcome === "full" ? full(quota) : abandoned();
      if (kept.outcome === "kept") {
        const { sha256, bytes, mime } = kept.media;
        const detail = { bytes, mime };
        const subject = sha256.toString("hex");
        await audit(client, { workspaceId, actor, action: "media.stored", subject, detail });
      }
      return kept;
    });
    if (outcome === "kept" || replaced === REPLACEMENTS || (await isWhole(core, media))) return media;
    core.log.warn(
      { event: "media.replaced", object: media.object },
      "a damaged object is replaced by an upload",
    );
    await deleteMedia(core, workspaceId, media.object);
  }
}

/** Whether its key exists and its object has its length. */
async function isWhole(
  core: Core,
  { workspaceId, object, keyVersion, bytes }: StoredMedia,
): Promise<boolean> {
  const derived = await core.vault.deriveKey(workspaceId, MEDIA_KEY, keyVersion);
  derived?.key.fill(0);
  return derived !== undefined && (await mediaOf(core).store.size(object)) === sealedBytes(bytes);
}

function stillThere(core: Core, object: string): () => Promise<void> {
  let touchedAt = performance.now();
  return async () => {
    if (performance.now() - touchedAt < TOUCH_MS) return;
    touchedAt = performance.now();
    if (await touchMedia(core.database.pool, object)) return;
    throw abandoned();
  };
}

function abandoned(): FabricError {
  return new FabricError("media.incomplete", "the upload was given up, because its bytes stayed away");
}

function full({ bytes, objects }: MediaLimits["quota"]): FabricError {
  return new FabricError(
    "media.quota_exceeded",
    `a workspace holds at most ${bytes} bytes in ${objects} files`,
  );
}
