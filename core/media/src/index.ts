export { contentTypeOf, HEAD_BYTES, isInert } from "./content-type.ts";
export { DirectoryMediaStore } from "./directory-media-store.ts";
export type { MediaStore } from "./media-store.ts";
export { cleanName } from "./names.ts";
export type { S3MediaStore, S3Options } from "./s3-media-store.ts";
export {
  type Binding,
  CHUNK_BYTES,
  newObject,
  open,
  type Range,
  seal,
  sealedBytes,
  sealedRange,
} from "./sealing.ts";
