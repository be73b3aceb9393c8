/** Settings of media: part of the table in `config.ts`. */
import { z } from "zod";
import { path, url } from "./setting-schemas.ts";

export const MEDIA_SETTINGS = {
  media: [
    z.enum(["directory", "s3"]).default("directory"),
    "Where media is stored: a directory, or a bucket of an S3 service",
  ],
  media_directory: [path.optional(), "Directory of media; default media in the data directory"],
  media_file_mib: [z.coerce.number().int().min(1).max(65_536).default(1_024), "Largest file of media, MiB"],
  media_workspace_mib: [
    z.coerce.number().int().min(1).max(1_073_741_824).default(10_240),
    "Media of one workspace together, MiB",
  ],
  media_workspace_files: [
    z.coerce.number().int().min(1).max(100_000_000).default(100_000),
    "Files of media of one workspace",
  ],
  media_transfers: [
    z.coerce.number().int().min(1).max(65_535).default(128),
    "Uploads and downloads of media at once",
  ],
  media_transfers_workspace: [
    z.coerce.number().int().min(1).max(65_535).default(32),
    "Uploads and downloads of media of one workspace at once",
  ],
  media_s3_bucket: [z.string().min(3).max(63).optional(), "Bucket of media"],
  media_s3_prefix: [z.string().max(256).default("linkspan/"), "Before each object's name in the bucket"],
  media_s3_region: [z.string().min(1).default("us-east-1"), "Region of the bucket"],
  media_s3_endpoint: [
    url("http:", "https:").optional(),
    "Address of an S3 service that is not Amazon's; its buckets are named in the path",
  ],
  media_s3_key_id: [
    z.string().min(1).optional(),
    "Access key of the S3 service; default what the AWS SDK finds in the environment",
  ],
  media_s3_secret: [z.string().min(1).optional(), "Secret of that access key"],
} as const satisfies Record<string, readonly [z.ZodType, string]>;

interface MediaPlace {
  readonly media: "directory" | "s3";
  readonly media_s3_bucket?: string | undefined;
  readonly media_s3_key_id?: string | undefined;
  readonly media_s3_secret?: string | undefined;
}

/** What single settings cannot show. */
export function mediaFaults(config: MediaPlace): string[] {
  const faults: string[] = [];
  if (config.media === "s3" && config.media_s3_bucket === undefined) {
    faults.push("media_s3_bucket: media in S3 needs one");
  }
  if ((config.media_s3_key_id === undefined) !== (config.media_s3_secret === undefined)) {
    faults.push("media_s3_key_id and media_s3_secret go together");
  }
  return faults;
}
