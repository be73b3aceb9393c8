/**
 * Writes events to the log: one row each, known ones are recognised, one fan-out for an event that several
 * accounts see.
 */
import { FabricError, isFabricError } from "@linkspan/envelopes";
import { appendEvents, knownContents, type Queryable } from "@linkspan/store";
import type { Core } from "../core.ts";
import type { Admitted } from "./admit.ts";
import { type Candidate, toCandidate } from "./candidate.ts";
import { chooseFanOut } from "./fan-out-choice.ts";
import type { Outcome } from "./outcome.ts";
import { OwnPeople } from "./own-people.ts";

export interface Conflicting {
  readonly admitted: Admitted;
  readonly conflict: FabricError;
}

/**
 * @returns the events whose id is known with other content, or that have no canonical form; they go to the
 *   quarantine
 */
export async function storeEvents(
  core: Core,
  on: Queryable,
  outcome: Outcome,
  events: readonly Admitted[],
): Promise<Conflicting[]> {
  if (events.length === 0) return [];
  const unreadable: Conflicting[] = [];
  const readable = events.flatMap((admitted) => {
    try {
      return [toCandidate(admitted)];
    } catch (error) {
      // The content has no canonical form. Only this event is refused.
      if (!isFabricError(error)) throw error;
      unreadable.push({ admitted, conflict: error });
      return [];
    }
  });
  const { candidates, conflicts: spoiled } = await withoutSpoiledHistories(on, readable);
  const firsts = new Map<string, Candidate>();
  for (const candidate of candidates) if (!firsts.has(candidate.key)) firsts.set(candidate.key, candidate);

  const unique = [...firsts.values()];
  const seen = unique.filter(({ event }) => event !== undefined);
  const people = await OwnPeople.load(on, seen);
  const choice = await chooseFanOut(on, seen, people, core.now());
  const inserted = await appendEvents(
    on,
    unique.map((candidate) => ({
      ...candidate.row,
      fanOut: candidate.event !== undefined && choice.fansOut(candidate),
      senderIdentity: people.speakerOf(candidate),
    })),
  );
  await choice.save(inserted);
  const contents = await knownContents(
    on,
    unique.filter(({ key }) => !inserted.has(key)).map(({ row }) => row),
  );

  const conflicts: Conflicting[] = [...unreadable, ...spoiled];
  let stored = 0;
  for (const candidate of candidates) {
    const { key, row, admitted } = candidate;
    const first = firsts.get(key);
    const fresh = first === candidate && inserted.has(key);
    const known = contents.get(key) ?? first?.row.content;
    if (!fresh && known !== undefined && Buffer.compare(known, row.content) !== 0) {
      conflicts.push({ admitted, conflict: otherContent() });
      continue;
    }
    if (fresh) stored += 1;
    acknowledge(outcome, admitted);
  }
  if (choice.released > 0) outcome.wakes.add("unsequenced");
  report(core, outcome, events, stored, conflicts.length);
  return conflicts;
}

/**
 * Refuses a history as a whole when its id was used for another one: its members would name a batch that does
 * not contain them.
 */
async function withoutSpoiledHistories(
  on: Queryable,
  candidates: readonly Candidate[],
): Promise<{ readonly candidates: readonly Candidate[]; readonly conflicts: readonly Conflicting[] }> {
  const histories = candidates.filter(({ event }) => event === undefined);
  if (histories.length === 0) return { candidates, conflicts: [] };
  const contents = new Map<string, Uint8Array>(
    await knownContents(
      on,
      histories.map(({ row }) => row),
    ),
  );
  const spoiled = new Set<Admitted>();
  for (const { key, row, admitted } of histories) {
    const known = contents.get(key) ?? row.content;
    contents.set(key, known);
    if (Buffer.compare(known, row.content) !== 0) spoiled.add(admitted);
  }
  return {
    candidates: candidates.filter(({ admitted }) => !spoiled.has(admitted.batch ?? admitted)),
    conflicts: [...spoiled].map((admitted) => ({ admitted, conflict: otherContent() })),
  };
}

function otherContent(): FabricError {
  return new FabricError("envelope.conflict", "this id was used for other content");
}

function acknowledge(outcome: Outcome, { opened, event }: Admitted): void {
  const { service, metadata, payload } = opened.envelope;
  outcome.acks.push({
    service,
    instance: metadata.instance,
    workspaceId: metadata.workspace_id,
    account: String(event?.payload.account ?? payload.account),
    messageId: metadata.message_id,
    status: "persisted",
    ...(event !== undefined && { event }),
  });
}

function report(
  core: Core,
  outcome: Outcome,
  events: readonly Admitted[],
  stored: number,
  conflicts: number,
): void {
  const service = events[0]?.opened.envelope.service ?? "";
  if (stored > 0) outcome.wakes.add("unsequenced");
  outcome.reports.push(() => {
    core.metrics.events("stored", service, stored);
    core.metrics.events("duplicate", service, events.length - stored - conflicts);
    core.metrics.events("conflict", service, conflicts);
  });
}
