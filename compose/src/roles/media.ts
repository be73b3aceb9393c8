/** The place of media that the configuration names. */
import { join } from "node:path";
import { DirectoryMediaStore, type MediaStore } from "@linkspan/media";
import type { Media } from "@linkspan/worker";
import type { Config } from "../config.ts";

const MIB = 1_048_576;

export async function openMedia(config: Config, stack: AsyncDisposableStack): Promise<Media> {
  return {
    store: stack.use(await openStore(config)),
    limits: {
      maxBytes: config.media_file_mib * MIB,
      quota: { bytes: config.media_workspace_mib * MIB, objects: config.media_workspace_files },
    },
  };
}

async function openStore(config: Config): Promise<MediaStore> {
  const { media_s3_bucket: bucket, media_s3_endpoint: endpoint } = config;
  if (config.media === "directory" || bucket === undefined) {
    return DirectoryMediaStore.open(config.media_directory ?? join(config.data, "media"));
  }
  // Loaded only here: the SDK takes a moment.
  const { S3MediaStore } = await import("@linkspan/media/s3");
  const { media_s3_key_id: accessKeyId, media_s3_secret: secretAccessKey } = config;
  return new S3MediaStore({
    bucket,
    prefix: config.media_s3_prefix,
    region: config.media_s3_region,
    pathStyle: endpoint !== undefined,
    ...(endpoint !== undefined && { endpoint }),
    ...(accessKeyId !== undefined &&
      secretAccessKey !== undefined && { credentials: { accessKeyId, secretAccessKey } }),
  });
}
