/** Strict base64: `Buffer.from` skips junk, so the text must also be what its bytes encode to. */

/** @returns undefined unless `text` is the one unpadded base64url spelling of its bytes */
export function fromBase64url(text: string): Uint8Array<ArrayBuffer> | undefined {
  const bytes = Buffer.from(text, "base64url");
  return bytes.toString("base64url") === text ? bytes : undefined;
}

/** Either alphabet, with or without padding, but never both alphabets, junk or stray bits. */
export function fromAnyBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  const unpadded = text.replace(/={1,2}$/, "");
  if (unpadded !== text && text.length % 4 !== 0) return undefined;
  const url = /[+/]/.test(unpadded);
  if (url && /[-_]/.test(unpadded)) return undefined;
  return fromBase64url(url ? unpadded.replaceAll("+", "-").replaceAll("/", "_") : unpadded);
}

export function toBase64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64url");
}
