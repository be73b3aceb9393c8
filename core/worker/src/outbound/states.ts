/**
 * The life of an intent (contract section 9), and who may cause what:
 *
 *   recorded → denied | held | queued → attempting → sent → delivered → read
 *                                     ↘ failed · uncertain · expired · cancelled
 *
 * A message in parts stays `attempting` from its first part to its last, with `part` counting up; after a part is
 * reported and before the next is granted, it is known what was sent. Two rules hold for every cause:
 *
 *   partly sent   an intent of which only some parts were sent ends `failed`, or `uncertain` if it is unknown whether
 *                 another part was sent; `part` of `parts` tells how much was sent, `code` why the rest was not
 *   in doubt      an intent with a part that was granted and not reported ends `uncertain`, unless the cause knows
 *                 what became of it (`KNOWS`); a deferral by the process that was granted it queues it again
 */
import type { Intent, IntentState } from "@linkspan/store";

/** Who changes the state of an intent. */
export const CAUSES = {
  decision: "the rules, when it is recorded",
  grant: "`attempt`, which lets a daemon send a part; the pump, for a daemon that does not ask",
  gate: "`attempt`, which refuses; the pump, for a daemon that does not ask",
  report: "a daemon's delivery status",
  deferral: "a daemon that could not send it yet",
  publisher: "the pump: it cannot be published",
  handover:
    "the pump, for a daemon that does not ask or does not report: from the broker's confirmation or the daemon's answer",
  cancellation: "a person or a backend",
  expiry: "its time ran out",
  unlinking: "its identity was unlinked",
  resolution: "a person who looked on the platform",
} as const;

export type Cause = keyof typeof CAUSES;

type Moves = Partial<Readonly<Record<IntentState, readonly IntentState[]>>>;

const REPORTED = ["attempting", "sent", "failed", "uncertain"] as const;

/** By cause: from which state to which. */
export const MAY: Readonly<Record<Cause, Moves>> = {
  decision: { recorded: ["denied", "held", "queued"] },
  grant: { queued: ["attempting"], attempting: ["attempting"] },
  gate: { queued: ["denied", "expired", "failed"], attempting: ["denied", "expired", "failed", "uncertain"] },
  report: {
    queued: REPORTED,
    attempting: REPORTED,
    uncertain: ["sent", "failed", "uncertain"],
    sent: ["delivered", "read"],
    delivered: ["read"],
  },
  deferral: { queued: ["queued"], attempting: ["queued"] },
  publisher: { queued: ["failed"], attempting: ["failed", "uncertain"] },
  handover: {
    queued: ["sent", "failed", "uncertain"],
    attempting: ["queued", "sent", "failed", "uncertain"],
  },
  cancellation: {
    recorded: ["cancelled"],
    held: ["cancelled"],
    queued: ["cancelled", "failed"],
    attempting: ["failed"],
  },
  expiry: {
    recorded: ["expired"],
    held: ["expired"],
    queued: ["expired", "failed"],
    attempting: ["failed", "uncertain"],
  },
  unlinking: {
    recorded: ["denied"],
    held: ["denied"],
    queued: ["denied", "failed"],
    attempting: ["failed", "uncertain"],
  },
  resolution: { uncertain: ["sent", "failed"] },
};

export type Standing = Pick<Intent, "state" | "part" | "ask_id">;

/** Ends that mean: nothing of it was sent. */
const UNSAID: readonly IntentState[] = ["denied", "expired", "cancelled", "failed"];

/** Causes that know what became of a part that was granted. */
const KNOWS: readonly Cause[] = ["report", "handover", "resolution"];

/** @returns the state that an intent enters when `cause` wants `to`; undefined when it may not */
export function destination(intent: Standing, cause: Cause, to: IntentState): IntentState | undefined {
  const end = endOf(intent, cause, to);
  return MAY[cause][intent.state]?.includes(end) === true ? end : undefined;
}

function endOf(intent: Standing, cause: Cause, to: IntentState): IntentState {
  if (!UNSAID.includes(to)) return to;
  if (inDoubt(intent) && !KNOWS.includes(cause)) return "uncertain";
  return intent.part > 0 ? "failed" : to;
}

/** A part was granted and nobody reported what became of it. */
export function inDoubt(intent: Pick<Intent, "state" | "ask_id">): boolean {
  return intent.state === "attempting" && intent.ask_id !== null;
}

/** Nothing will be sent any more, or it was sent. */
export function isSettled(state: IntentState): boolean {
  return !["recorded", "held", "queued", "attempting"].includes(state);
}
