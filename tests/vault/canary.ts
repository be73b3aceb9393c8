/** Finds a secret in what was written somewhere, in whatever form it may have been written. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** Every spelling that would give the secret away; text to look for, as bytes. */
export function spellings(secret: string): readonly Buffer[] {
  const bytes = Buffer.from(secret, "utf8");
  const decimal = [...bytes].map(String);
  const hex = bytes.toString("hex");
  const texts = [
    secret,
    encodeURIComponent(secret),
    JSON.stringify(secret).slice(1, -1),
    hex,
    hex.toUpperCase(),
    hex.replace(/(?<=..)(..)/g, " $1"),
    decimal.join(","),
    ...base64Cores(bytes),
  ];
  return [...new Set(texts)].map((text) => Buffer.from(text)).concat(Buffer.from(secret, "utf16le"));
}

/** Base64 of the secret inside something longer: three alignments, without the ends that neighbours change. */
function base64Cores(bytes: Buffer): string[] {
  return [0, 1, 2].flatMap((before) => {
    const padded = Buffer.concat([Buffer.alloc(before), bytes]);
    const whole = padded.subarray(0, padded.byteLength - (padded.byteLength % 3)).toString("base64");
    const core = whole.slice(before === 0 ? 0 : 4);
    return [core, core.replaceAll("+", "-").replaceAll("/", "_")];
  });
}

export function reveals(haystack: Buffer | string, secret: string): boolean {
  // Inspected arrays are set in columns; serialised ones have their indices between the numbers.
  const flat = (text: string): string => text.replace(/"\d+":/g, "").replace(/,\s+/g, ",");
  const bytes = typeof haystack === "string" ? Buffer.from(`${haystack}\n${flat(haystack)}`) : haystack;
  return spellings(secret).some((spelling) => bytes.includes(spelling));
}

/** Files below a directory in which the secret can be found. Files that vanish meanwhile are passed over. */
export async function filesThatReveal(directory: string, secret: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = await readFile(path).catch((error: unknown) => {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return Buffer.alloc(0);
      throw error;
    });
    if (reveals(bytes, secret)) found.push(path);
  }
  return found;
}
