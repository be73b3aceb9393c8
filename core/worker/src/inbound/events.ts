/** Events into the log: one row each, known ones recognised, one reading account per conversation. */
import { createHash } from "node:crypto";
import { contentHash, FabricError } from "@linkspan/envelopes";
import {
  appendEvents,
  electReaders,
  knownContents,
  type NewEvent,
  type Queryable,
  type Sighting,
} from "@linkspan/store";
import type { Core } from "../core.ts";
import type { Admitted } from "./admit.ts";
import type { Outcome } from "./outcome.ts";

interface Candidate {
  readonly admitted: Admitted;
  readonly key: string;
  readonly row: Omit<NewEvent, "fanOut">;
}

export interface Conflicting {
  readonly admitted: Admitted;
  readonly conflict: FabricError;
}

/** @returns those whose id is known with other content; they are for the quarantine */
export async function storeEvents(
  core: Core,
  on: Queryable,
  outcome: Outcome,
  events: readonly Admitted[],
): Promise<Conflicting[]> {
  if (events.length === 0) return [];
  const candidates = events.map(toCandidate);
  const firsts = new Map<string, Candidate>();
  for (const candidate of candidates) if (!firsts.has(candidate.key)) firsts.set(candidate.key, candidate);

  const readers = await electReaders(on, sightingsOf(firsts.values()));
  const rows = [...firsts.values()].map(({ row }) => ({ ...row, fanOut: isReader(row, readers) }));
  const inserted = await appendEvents(on, rows);
  const contents = await knownContents(
    on,
    rows.filter((row) => !inserted.has(hex(row.messageId))),
  );

  const conflicts: Conflicting[] = [];
  let stored = 0;
  for (const candidate of candidates) {
    const { key, row, admitted } = candidate;
    const first = firsts.get(key);
    const fresh = first === candidate && inserted.has(hex(row.messageId));
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
  report(core, outcome, events, stored, conflicts.length);
  return conflicts;
}

function toCandidate(admitted: Admitted): Candidate {
  const { envelope, body, kid } = admitted.opened;
  const { metadata } = envelope;
  const event = admitted.event ?? { payload: envelope.payload, conversation: metadata.conversation };
  const messageId = Buffer.from(metadata.message_id, "base64url");
  return {
    admitted,
    key: `${hex(messageId)}@${metadata.workspace_id}`,
    row: {
      workspaceId: metadata.workspace_id,
      messageId,
      content: contentHash({ ...envelope, action: admitted.opened.action.canonical, payload: event.payload }),
      leaf: leafHash(body),
      service: envelope.service,
      account: String(event.payload.account),
      conversation: event.conversation,
      kid,
      sig: kid === undefined ? undefined : admitted.delivery.sig,
      body,
    },
  };
}

function sightingsOf(candidates: Iterable<Candidate>): Sighting[] {
  const sightings = new Map<string, Sighting>();
  for (const { row } of candidates) {
    if (row.conversation === undefined) continue;
    const key = `${row.workspaceId} ${row.conversation}`;
    if (sightings.has(key)) continue;
    sightings.set(key, {
      workspaceId: row.workspaceId,
      ref: row.conversation,
      service: row.service,
      account: row.account,
    });
  }
  return [...sightings.values()];
}

function isReader(row: Candidate["row"], readers: ReadonlyMap<string, string>): boolean {
  return (
    row.conversation === undefined || readers.get(`${row.workspaceId} ${row.conversation}`) === row.account
  );
}

function acknowledge(outcome: Outcome, { opened, event }: Admitted): void {
  const { service, metadata, payload } = opened.envelope;
  if (opened.kid === undefined) return;
  outcome.acks.push({
    service,
    instance: metadata.instance,
    workspaceId: metadata.workspace_id,
    account: String(event?.payload.account ?? payload.account),
    messageId: metadata.message_id,
    status: "persisted",
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

/** RFC 6962 section 2.1: SHA-256 over a zero byte and the entry. */
function leafHash(body: Uint8Array): Uint8Array {
  return createHash("sha256").update(LEAF_PREFIX).update(body).digest();
}

const LEAF_PREFIX = Uint8Array.of(0);

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}
