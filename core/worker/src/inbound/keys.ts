/**
 * Idempotency keys of envelopes that are not events. An event's message id is computed again from its
 * content, so nobody can choose it. All other ids are chosen by their senders. So their keys contain action
 * and account, and cannot collide with those of an event, an intent or another account.
 */
import { createHash } from "node:crypto";

/** @returns 32 bytes, the length of an inbox key */
export function keyOf(action: string, account: string, messageId: string): Buffer {
  return createHash("sha256").update(`${action}\n${account}\n${messageId}`).digest();
}
