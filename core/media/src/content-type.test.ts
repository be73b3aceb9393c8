import { expect, test } from "vitest";
import { contentTypeOf, HEAD_BYTES, isInert } from "./content-type.ts";

const PNG = Buffer.from(
  "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000a49444154789c6360000002000100ffff03000006000557bfabd40000000049454e44ae426082",
  "hex",
);

test.each([
  ["a PNG", PNG, "image/png", true],
  ["a JPEG", Buffer.from("ffd8ffe000104a46494600", "hex"), "image/jpeg", true],
  ["a PDF", Buffer.from("%PDF-1.7\n"), "application/pdf", false],
  ["a ZIP", Buffer.from("504b0506000000000000000000000000000000000000", "hex"), "application/zip", false],
  ["XML", Buffer.from('<?xml version="1.0"?><a/>'), "application/xml", false],
  [
    "an SVG with a script",
    Buffer.from("<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>"),
    "text/plain; charset=utf-8",
    false,
  ],
  ["HTML", Buffer.from("<!doctype html><script>alert(1)</script>"), "text/plain; charset=utf-8", false],
  ["text", Buffer.from("Grüße\n"), "text/plain; charset=utf-8", false],
  ["text in Latin 1", Buffer.from("Gr\u00fc\u00dfe", "latin1"), "application/octet-stream", false],
  ["text with NUL", Buffer.from("a\0b"), "application/octet-stream", false],
  ["nothing", Buffer.alloc(0), "application/octet-stream", false],
])("%s", async (_what, bytes, mime, inert) => {
  const found = await contentTypeOf(bytes);
  expect(found).toBe(mime);
  expect(isInert(found)).toBe(inert);
});

test("a character that the end of the head cuts is no fault, one that the media's end cuts is", async () => {
  const long = Buffer.from(`x${"ü".repeat(HEAD_BYTES)}`).subarray(0, HEAD_BYTES);
  expect(await contentTypeOf(long)).toBe("text/plain; charset=utf-8");
  expect(await contentTypeOf(long.subarray(0, 100))).toBe("application/octet-stream");
});
