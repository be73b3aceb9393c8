/** The page of an intent's states, made from the table that the code obeys: `npx node core/worker/src/outbound/write-states-page.ts`. */
import { INTENT_STATES } from "@linkspan/envelopes";
import type { IntentState } from "@linkspan/store";
import { type Cause, CAUSES, isSettled, MAY } from "./states.ts";

const MEANING: Readonly<Record<IntentState, string>> = {
  recorded: "stored; the decision is made in the same transaction",
  denied: "refused by a rule or the switch; nothing of it was sent",
  held: "waits for a person's approval; no rule uses it yet",
  queued: "allowed; waits for its turn in its conversation, or is at the daemon",
  attempting:
    "a daemon was granted a part; after a part is reported and before the next is granted, it is known what was sent",
  sent: "all parts were sent; the platform's ids are in `remote_ids`",
  delivered: "the platform reported that it arrived",
  read: "the platform reported that it was read",
  failed: "not sent, or only `part` of `parts`; `code` tells why",
  uncertain: "a part may have been sent and nobody knows; it is never sent again automatically",
  expired: "its time ran out before anything was sent",
  cancelled: "stopped before anything was sent",
};

interface Move {
  readonly from: IntentState;
  readonly to: IntentState;
  readonly causes: readonly Cause[];
}

function moves(): Move[] {
  const all = (Object.keys(MAY) as Cause[]).flatMap((cause) =>
    INTENT_STATES.flatMap((from) => (MAY[cause][from] ?? []).map((to) => ({ from, to, cause }))),
  );
  const grouped = Map.groupBy(all, ({ from, to }) => `${from} ${to}`);
  return [...grouped.values()].flatMap((same) => {
    const [first] = same;
    return first === undefined
      ? []
      : [{ from: first.from, to: first.to, causes: same.map(({ cause }) => cause) }];
  });
}

export function statesPage(): string {
  const all = moves();
  const entered = (state: IntentState): string =>
    [...new Set(all.filter(({ from, to }) => to === state && from !== to).flatMap(({ causes }) => causes))]
      .map((cause) => `\`${cause}\``)
      .join(", ");
  const next = (state: IntentState): string =>
    [
      ...new Set(all.filter(({ from, to }) => from === state && to !== from).map(({ to }) => `\`${to}\``)),
    ].join(", ");
  return [
    "# States of an intent",
    "",
    "Generated from the table in `core/worker/src/outbound/states.ts` by",
    "`npx node core/worker/src/outbound/write-states-page.ts`; do not edit.",
    "",
    "```mermaid",
    "stateDiagram-v2",
    "  [*] --> recorded",
    ...all
      .filter(({ from, to }) => from !== to)
      .map(({ from, to, causes }) => `  ${from} --> ${to}: ${causes.join(", ")}`),
    "```",
    "",
    "Transitions from a state to itself are left out.",
    "",
    "Two rules hold for every cause:",
    "",
    "- If only some parts were sent, the intent ends as `failed`, or as `uncertain` if it is unknown whether another part was",
    "  sent.",
    "- An intent with a part that was granted and not reported ends as `uncertain`, unless it becomes known what happened to",
    "  the part: from a daemon's report (`report`), from the daemon's or the broker's answer (`handover`), or from a person who",
    "  looked on the platform (`resolution`). If the process that was granted the part reports that it did not send it",
    "  (`deferral`), the intent is `queued` again.",
    "",
    "| state | meaning | caused by | settled | what may follow |",
    "| --- | --- | --- | --- | --- |",
    ...INTENT_STATES.map(
      (state) =>
        `| \`${state}\` | ${MEANING[state]} | ${entered(state) || "the request"} | ${isSettled(state) ? "yes" : "no"} | ${next(state) || "nothing"} |`,
    ),
    "",
    "A settled intent has left the outbox. The next intent of the conversation can now be sent. Each transition writes a step,",
    "an audit entry and a metric; a transition to `queued` or to a settled state wakes the pump.",
    "",
    "| cause | who |",
    "| --- | --- |",
    ...Object.entries(CAUSES).map(([cause, who]) => `| \`${cause}\` | ${who} |`),
    "",
  ].join("\n");
}
