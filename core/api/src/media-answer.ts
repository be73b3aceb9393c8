/** An answer with media: whole, a range of it, or only its headers (RFC 9110 sections 13 and 14). */
import { Readable } from "node:stream";
import { create as disposition } from "content-disposition";
import { isInert, type Range } from "@linkspan/media";
import type { ReadableMedia } from "@linkspan/worker";
import type { FastifyReply, FastifyRequest } from "fastify";
import { parse as parseRanges } from "range-parser";

/** A browser runs nothing of it and believes the content type. */
const HARMLESS = {
  "x-content-type-options": "nosniff",
  "content-security-policy": "sandbox; default-src 'none'",
} as const;
/** In the code of `range-parser`. */
const MALFORMED = 1;
/** Bytes that wait for a slow reader. */
const READ_AHEAD_BYTES = 131_072;

/**
 * A fault in the stored bytes after the headers ends the connection: the reader sees that bytes are missing.
 *
 * @throws FabricError `media.damaged`, `media.unavailable` when already the first bytes cannot be read
 */
export async function sendMedia(
  { method, headers }: Pick<FastifyRequest, "method" | "headers">,
  reply: FastifyReply,
  found: ReadableMedia,
  more: Readonly<Record<string, string>>,
): Promise<FastifyReply> {
  const { bytes, mime, name, sha256 } = found.media;
  const etag = `"${sha256.toString("hex")}"`;
  const always = { ...more, ...HARMLESS, etag, "accept-ranges": "bytes" };
  if (isKnown(headers["if-none-match"], etag)) {
    found[Symbol.dispose]();
    return reply.code(304).headers(always).send();
  }
  const range = method === "HEAD" ? undefined : rangeOf(headers, bytes, etag);
  if (range === "unsatisfiable") {
    found[Symbol.dispose]();
    return reply.code(416).headers(always).header("content-range", `bytes */${bytes}`).send();
  }
  const described = {
    ...always,
    "content-type": mime,
    "content-disposition": disposition(name, { type: isInert(mime) ? "inline" : "attachment" }),
    "content-length": range === undefined ? bytes : range.to - range.from + 1,
  };
  if (method === "HEAD") {
    found[Symbol.dispose]();
    return reply.headers(described).send();
  }
  // Before any header is set: a problem has other ones.
  const body = await begun(found.read(range));
  if (range !== undefined) {
    reply.code(206).header("content-range", `bytes ${range.from}-${range.to}/${bytes}`);
  }
  return reply.headers(described).send(body);
}

/** The stream, once its first bytes are there. */
async function begun(pieces: AsyncGenerator<Uint8Array>): Promise<Readable> {
  const first = await pieces.next();
  const all = async function* () {
    if (first.done !== true) yield first.value;
    yield* pieces;
  };
  const body = Readable.from(all(), { objectMode: false, highWaterMark: READ_AHEAD_BYTES });
  // Also when the reader went away before it took anything, so that the iteration of `all` never began.
  body.once("close", () => void pieces.return(undefined).catch(() => undefined)); // nobody waits for it any more
  return body;
}

/** Several ranges, and what is no range of bytes, are answered with the whole. */
function rangeOf(
  { range, "if-range": condition }: FastifyRequest["headers"],
  bytes: number,
  etag: string,
): Range | "unsatisfiable" | undefined {
  if (range === undefined || (condition !== undefined && condition !== etag)) return undefined;
  const { code, type, ranges } = parseRanges(bytes, range);
  if (type !== "bytes" || (code & MALFORMED) !== 0) return undefined;
  if (code !== 0 && ranges.length === 0) return "unsatisfiable";
  if (ranges.length !== 1) return undefined;
  const [only] = ranges;
  return only === undefined ? undefined : { from: only.start, to: only.end };
}

function isKnown(header: string | undefined, etag: string): boolean {
  const known = header?.split(",").map((one) => one.trim().replace(/^W\//, "")) ?? [];
  return known.includes(etag) || known.includes("*");
}
