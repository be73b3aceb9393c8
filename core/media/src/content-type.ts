/** What media is, from its bytes alone: what a sender says about it may be a mistake or a lie. */
import { fileTypeFromBuffer } from "file-type";

/** Bytes at the start of media that decide about its type. */
export const HEAD_BYTES = 4_100;

const UNKNOWN = "application/octet-stream";
const TEXT = "text/plain; charset=utf-8";
/** Control characters that texts do not hold. */
const BINARY = /[\u0000-\u0008\u000e-\u001a\u001c-\u001f\u007f]/;

/**
 * @param head the first bytes, {@link HEAD_BYTES} or all when there are fewer
 * @returns a media type. Markup that carries no signature of its own, such as HTML, is plain text
 */
export async function contentTypeOf(head: Uint8Array): Promise<string> {
  const known = await fileTypeFromBuffer(head);
  if (known !== undefined) return known.mime;
  return isText(head) ? TEXT : UNKNOWN;
}

/** Raster images, audio and video: browsers run nothing in them. Everything else is only ever downloaded. */
const INERT: ReadonlySet<string> = new Set([
  "image/apng",
  "image/avif",
  "image/bmp",
  "image/gif",
  "image/jpeg",
  "image/png",
  "image/webp",
  "audio/aac",
  "audio/flac",
  "audio/mp4",
  "audio/mpeg",
  "audio/ogg",
  "audio/opus",
  "audio/wav",
  "audio/x-m4a",
  "video/mp4",
  "video/mpeg",
  "video/ogg",
  "video/quicktime",
  "video/webm",
]);

/** Whether a browser may show it in place. */
export function isInert(mime: string): boolean {
  return INERT.has(mime);
}

function isText(head: Uint8Array): boolean {
  if (head.byteLength === 0) return false;
  try {
    // `stream`: the last character may be cut.
    const text = new TextDecoder("utf-8", { fatal: true }).decode(head, {
      stream: head.byteLength >= HEAD_BYTES,
    });
    return !BINARY.test(text);
  } catch {
    return false; // not UTF-8
  }
}
