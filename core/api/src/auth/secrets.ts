/**
 * API and enrolment tokens. They are 256 random bits, so a plain hash keeps them: a row that leaks opens
 * nothing, and looking a hash up tells a guesser nothing about a token.
 */
import { createHash, randomBytes } from "node:crypto";

export type TokenKind = "lsp" | "lse";

const TOKEN = /^ls[pe]_[A-Za-z0-9_-]{43}$/;

/** `lsp_` opens the API; `lse_` enrols one daemon, once. */
export function newToken(kind: TokenKind): string {
  return `${kind}_${randomBytes(32).toString("base64url")}`;
}

/** What the tables hold: SHA-256 of the whole token; 32 bytes. */
export function hashToken(token: string): Uint8Array {
  return createHash("sha256").update(token, "utf8").digest();
}

/** @returns undefined for anything that cannot be a token of this kind */
export function tokenOf(text: string, kind: TokenKind): string | undefined {
  return text.startsWith(`${kind}_`) && TOKEN.test(text) ? text : undefined;
}
