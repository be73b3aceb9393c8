/** The page of an intent's states, made from the table that the code obeys: `npx node core/worker/src/outbound/write-states-page.ts`. */
import { INTENT_STATES } from "@linkspan/envelopes";
import type { IntentState } from "@linkspan/store";
import { type Cause, CAUSES, isSettled, MAY } from "./states.ts";

const MEANING: Readonly<Record<IntentState, string>> = {
  recorded: "stored; the decision is made in the same transaction",
  denied: "refused by a rule or the switch; nothing of it was said",
  held: "waits for a person's approval",
  queued: "allowed; waits for its turn in its conversation, or is at the daemon",
  attempting: "a daemon was granted a part; between two parts nothing is in doubt",
  sent: "all parts were said; the platform's ids are in `remote_ids`",
  delivered: "the platform told that it arrived",
  read: "the platform told that it was read",
  failed: "not said, or only `part` of `parts`; `code` says why",
  uncertain: "a part may have been said and nobody knows; it is never said again by itself",
  expired: "its time ran out before anything was said",
  cancelled: "stopped before anything was said",
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
    "Made from the table in `core/worker/src/outbound/states.ts`; do not edit.",
    "",
    "```mermaid",
    "stateDiagram-v2",
    "  [*] --> recorded",
    ...all
      .filter(({ from, to }) => from !== to)
      .map(({ from, to, causes }) => `  ${from} --> ${to}: ${causes.join(", ")}`),
    "```",
    "",
    "Two rules hold whatever the cause. An intent of which a part was said ends `failed`, and in no other way but `sent` and",
    "`uncertain`. An intent with a part that was granted and not reported ends `uncertain`, unless a daemon's report or a",
    "person who looked tells what became of it.",
    "",
    "| state | meaning | caused by | settled | what may follow |",
    "| --- | --- | --- | --- | --- |",
    ...INTENT_STATES.map(
      (state) =>
        `| \`${state}\` | ${MEANING[state]} | ${entered(state) || "the request"} | ${isSettled(state) ? "yes" : "no"} | ${next(state) || "nothing"} |`,
    ),
    "",
    "A settled intent has left the outbox: the next one of its conversation has its turn. Each move writes a step, an audit",
    "entry and a metric; what is queued or settled wakes the pump.",
    "",
    "| cause | who |",
    "| --- | --- |",
    ...Object.entries(CAUSES).map(([cause, who]) => `| \`${cause}\` | ${who} |`),
    "",
  ].join("\n");
}
