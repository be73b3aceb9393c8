/**
 * API and enrolment tokens. They have 256 random bits, so storing a plain hash is enough: a leaked row gives
 * no access, and looking up a hash reveals nothing about a token.
 */
import { createHash, randomBytes } from "node:crypto";
import { coreKidOf, enrolmentToken } from "@linkspan/envelopes";

const TOKEN = /^lsp_[A-Za-z0-9_-]{43}$/;

/** Generates a token for the API. */
export function newToken(): string {
  return `lsp_${newSecret()}`;
}

/** Generates a token that enrols one daemon, once, with the core whose key it names. */
export function newEnrolmentToken(coreKid: string): string {
  return enrolmentToken(newSecret(), coreKid);
}

function newSecret(): string {
  return randomBytes(32).toString("base64url");
}

/** The value that the tables store: SHA-256 of the whole token; 32 bytes. */
export function hashToken(token: string): Uint8Array {
  return createHash("sha256").update(token, "utf8").digest();
}

/** @returns undefined for anything that cannot be a token of the API */
export function tokenOf(text: string): string | undefined {
  return TOKEN.test(text) ? text : undefined;
}

/** @returns undefined for anything that cannot be an enrolment token of this core */
export function enrolmentTokenOf(text: string, coreKid: string): string | undefined {
  return coreKidOf(text) === coreKid ? text : undefined;
}
