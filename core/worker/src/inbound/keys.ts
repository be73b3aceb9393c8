/**
 * Idempotency keys of what is no event. An event's message id is computed again from its content, so nobody can
 * choose it. The ids of all else are their senders' own words: their keys lie in spaces of their own, one per
 * action and account, where no event, no intent and no other account can be met.
 */
import { createHash } from "node:crypto";

/** @returns 32 bytes, as an inbox key is */
export function keyOf(action: string, account: string, messageId: string): Buffer {
  return createHash("sha256").update(`${action}\n${account}\n${messageId}`).digest();
}
