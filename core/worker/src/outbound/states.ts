/**
 * The life of an intent (contract section 9):
 *
 *   recorded → denied | held | queued → attempting → sent → delivered → read
 *                                     ↘ failed · uncertain · expired · cancelled
 *
 * A multi-part message goes attempting → queued-in-place for its next part: it stays `attempting` with
 * `part` counting up. `uncertain` may still become `sent` when the platform is found to have it, and
 * `failed` never becomes anything else.
 */
import type { IntentState } from "@linkspan/store";

const NEXT: Readonly<Record<IntentState, readonly IntentState[]>> = {
  recorded: ["denied", "held", "queued", "expired", "cancelled"],
  held: ["queued", "denied", "expired", "cancelled"],
  queued: ["attempting", "failed", "uncertain", "expired", "cancelled", "denied", "sent"],
  attempting: ["attempting", "queued", "sent", "failed", "uncertain"],
  sent: ["delivered", "read"],
  delivered: ["read"],
  uncertain: ["sent", "failed", "cancelled"],
  denied: [],
  failed: [],
  expired: [],
  cancelled: [],
  read: [],
};

export function mayMove(from: IntentState, to: IntentState): boolean {
  return NEXT[from].includes(to);
}

/** Nothing will be said any more, or it was said. */
export function isSettled(state: IntentState): boolean {
  return !["recorded", "held", "queued", "attempting"].includes(state);
}
