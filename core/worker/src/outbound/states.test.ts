import { INTENT_STATES } from "@linkspan/envelopes";
import type { IntentState } from "@linkspan/store";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Cause, CAUSES, destination, isSettled, MAY, type Standing } from "./states.ts";

const STATES: readonly IntentState[] = INTENT_STATES;
const CAUSE_NAMES = Object.keys(CAUSES) as Cause[];
const FINAL: readonly IntentState[] = ["denied", "failed", "expired", "cancelled", "read"];

const standing = fc.record({
  state: fc.constantFrom(...STATES),
  part: fc.nat(3),
  ask_id: fc.constantFrom(null, "question"),
});
const move = fc.record({ cause: fc.constantFrom(...CAUSE_NAMES), to: fc.constantFrom(...STATES) });

function every(
  property: (intent: Standing, cause: Cause, to: IntentState, end: IntentState | undefined) => void,
) {
  fc.assert(
    fc.property(standing, move, (intent, { cause, to }) =>
      property(intent, cause, to, destination(intent, cause, to)),
    ),
    { numRuns: 5_000 },
  );
}

test("what is final stays so, whoever asks", () => {
  every((intent, _cause, _to, end) => {
    if (FINAL.includes(intent.state)) expect(end).toBeUndefined();
  });
});

test("what was settled is never said again", () => {
  every((intent, _cause, _to, end) => {
    if (isSettled(intent.state) && end !== undefined) expect(isSettled(end)).toBe(true);
  });
});

test("a half-said intent never ends as if nothing of it had been said, whatever ends it", () => {
  every((intent, _cause, _to, end) => {
    if (intent.part > 0) expect(["denied", "expired", "cancelled"]).not.toContain(end);
  });
  const half: Standing = { state: "queued", part: 1, ask_id: null };
  for (const [cause, to] of [
    ["cancellation", "cancelled"],
    ["expiry", "expired"],
    ["unlinking", "denied"],
    ["gate", "denied"],
    ["report", "failed"],
    ["publisher", "failed"],
  ] as const)
    expect(destination(half, cause, to), cause).toBe("failed");
  const between: Standing = { state: "attempting", part: 1, ask_id: null };
  for (const [cause, to] of [
    ["cancellation", "cancelled"],
    ["expiry", "expired"],
    ["unlinking", "denied"],
  ] as const)
    expect(destination(between, cause, to), cause).toBe("failed");
});

test("a granted part without a report leaves doubt; only a report or a person ends it otherwise", () => {
  const granted: Standing = { state: "attempting", part: 0, ask_id: "question" };
  expect(destination(granted, "unlinking", "denied")).toBe("uncertain");
  expect(destination(granted, "expiry", "expired")).toBe("uncertain");
  expect(destination(granted, "publisher", "failed")).toBe("uncertain");
  expect(destination(granted, "cancellation", "cancelled")).toBeUndefined();
  expect(destination(granted, "report", "failed")).toBe("failed");
});

test("what was given to a daemon that does not report is said to be sent or not only as it answers", () => {
  const given: Standing = { state: "attempting", part: 0, ask_id: "the core" };
  for (const to of ["sent", "failed", "uncertain", "queued"] as const)
    expect(destination(given, "handover", to), to).toBe(to);
  every((intent, cause, _to, end) => {
    if (cause === "handover" && isSettled(intent.state)) expect(end).toBeUndefined();
  });
});

test("an uncertain intent is not cancelled: it may have been said", () => {
  every((intent, cause, _to, end) => {
    if (intent.state !== "uncertain" || end === undefined) return;
    expect(["report", "resolution"]).toContain(cause);
    expect(["sent", "failed", ...(cause === "report" ? ["uncertain"] : [])]).toContain(end);
  });
});

test("only a daemon says that something was delivered or read, and only of what was sent", () => {
  every((intent, cause, _to, end) => {
    if (end !== "delivered" && end !== "read") return;
    expect(cause).toBe("report");
    expect(["sent", "delivered"]).toContain(intent.state);
  });
});

test("a move that is made is in the table, and every move of the table can be made", () => {
  const made = new Set<string>();
  every((intent, cause, _to, end) => {
    if (end === undefined) return;
    expect(MAY[cause][intent.state]).toContain(end);
  });
  for (const cause of CAUSE_NAMES)
    for (const state of STATES)
      for (const part of [0, 1])
        for (const ask_id of [null, "question"])
          for (const to of STATES) {
            const end = destination({ state, part, ask_id }, cause, to);
            if (end !== undefined) made.add(`${cause} ${state} ${end}`);
          }
  const all = CAUSE_NAMES.flatMap((cause) =>
    Object.entries(MAY[cause]).flatMap(([from, ends]) => ends.map((end) => `${cause} ${from} ${end}`)),
  );
  expect([...made].toSorted()).toEqual(all.toSorted());
});

test("every state can be reached from the first one, and every one that is not final can be left", () => {
  const moves = CAUSE_NAMES.flatMap((cause) =>
    Object.entries(MAY[cause]).flatMap(([from, ends]) => ends.map((end) => [from, end] as const)),
  );
  const reached = new Set<string>(["recorded"]);
  for (let size = 0; size < reached.size; ) {
    size = reached.size;
    for (const [from, end] of moves) if (reached.has(from)) reached.add(end);
  }
  expect([...reached].toSorted()).toEqual([...STATES].toSorted());
  const left = new Set(moves.filter(([from, end]) => from !== end).map(([from]) => from));
  expect(STATES.filter((state) => !left.has(state)).toSorted()).toEqual([...FINAL].toSorted());
});
