/**
 * Recognises our own messages when a server or bouncer shows them again. Where tags of clients are relayed, each text
 * carries one that only this identity writes; elsewhere the last texts are known by a digest, which goes along in the
 * cursor and so outlives a crash. A digest counts for what is replayed alone: what is said now may be said twice.
 */
import { createHash } from "node:crypto";
import type { Line } from "../inbound.ts";
import { readFormatting } from "../wire/formatting.ts";

export const MARK = "+linkspan/id";
const MAX_KEPT = 16;
const DIGEST_LENGTH = 10;

export class OwnSends {
  readonly #mark: string;
  readonly #digests: string[];

  constructor(identityId: string, restored: readonly string[] = []) {
    this.#mark = digestOf(identityId).slice(0, 6);
    this.#digests = restored.slice(-MAX_KEPT);
  }

  /** Value of the tag that marks one part. */
  markOf(key: string): string {
    return `${this.#mark}.${key}`;
  }

  isMarked(line: Line): boolean {
    return line.tags[MARK]?.startsWith(`${this.#mark}.`) ?? false;
  }

  /** @param target folded */
  add(target: string, text: string): void {
    this.#digests.push(digestOf(`${target}\n${plain(text)}`));
    if (this.#digests.length > MAX_KEPT) this.#digests.shift();
  }

  /** Whether a replayed line of ours is one of those; each counts once. */
  takes(target: string, text: string): boolean {
    const at = this.#digests.indexOf(digestOf(`${target}\n${plain(text)}`));
    if (at < 0) return false;
    this.#digests.splice(at, 1);
    return true;
  }

  get kept(): readonly string[] {
    return [...this.#digests];
  }
}

/** As servers relay it that strip formatting, or blanks at an end. */
export function plain(text: string): string {
  return readFormatting(text.replaceAll("\x01", "")).text.trim();
}

function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("base64url").slice(0, DIGEST_LENGTH);
}
