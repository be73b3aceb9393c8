/** Events into the log: one row each, known ones recognised, one fan-out for what several accounts see. */
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

/** @returns those whose id is known with other content, or that have no canonical form; they are for the quarantine */
export async function storeEvents(
  core: Core,
  on: Queryable,
  outcome: Outcome,
  events: readonly Admitted[],
): Promise<Conflicting[]> {
  if (events.length === 0) return [];
  const unreadable: Conflicting[] = [];
  const candidates = events.flatMap((admitted) => {
    try {
      return [toCandidate(admitted)];
    } catch (error) {
      // Content that has no canonical form: its own fault, and no other event's.
      if (!isFabricError(error)) throw error;
      unreadable.push({ admitted, conflict: error });
      return [];
    }
  });
  const firsts = new Map<string, Candidate>();
  for (const candidate of candidates) if (!firsts.has(candidate.key)) firsts.set(candidate.key, candidate);

  const unique = [...firsts.values()];
  const people = await OwnPeople.load(on, unique);
  const choice = await chooseFanOut(on, unique, people, core.now());
  const inserted = await appendEvents(
    on,
    unique.map((candidate) => ({
      ...candidate.row,
      fanOut: choice.fansOut(candidate),
      senderIdentity: people.speakerOf(candidate),
    })),
  );
  await choice.save(inserted);
  const contents = await knownContents(
    on,
    unique.filter(({ key }) => !inserted.has(key)).map(({ row }) => row),
  );

  const conflicts: Conflicting[] = unreadable;
  let stored = 0;
  for (const candidate of candidates) {
    const { key, row, admitted } = candidate;
    const first = firsts.get(key);
    const fresh = first === candidate && inserted.has(key);
    const known = contents.get(key) ?? first?.row.content;
    if (!fresh && known !== undefined && Buffer.compare(known, row.content) !== 0) {
      conflicts.push({
        admitted,
        conflict: new FabricError("envelope.conflict", "this id was used for other content"),
      });
      continue;
    }
    if (fresh) stored += 1;
    acknowledge(outcome, admitted);
  }
  if (choice.released > 0) outcome.wakes.add("unsequenced");
  report(core, outcome, events, stored, conflicts.length);
  return conflicts;
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
