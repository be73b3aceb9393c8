/** What the parts of the core that deal with media share. */
import { FabricError } from "@linkspan/envelopes";
import type { MediaStore } from "@linkspan/media";
import type { MediaQuota } from "@linkspan/store";

export interface Media {
  readonly store: MediaStore;
  readonly limits: MediaLimits;
}

export interface MediaLimits {
  /** Largest media, bytes. */
  readonly maxBytes: number;
  /** Of each workspace. */
  readonly quota: MediaQuota;
}

/** Of the vault's derived keys. */
export const MEDIA_KEY = "media";

/** @throws FabricError `media.unavailable` in a process that has no place for media */
export function mediaOf({ media }: { readonly media?: Media }): Media {
  if (media === undefined) throw new FabricError("media.unavailable", "this process has no place for media");
  return media;
}
