/**
 * Chooses which events of a batch are fanned out: loads what the tables say about their conversations, lets
 * the reader book decide, and stores the decision. A conversation that only one account sees, as most are,
 * costs one read.
 */
import { createHash } from "node:crypto";
import {
  type ConversationKey,
  type EventPlace,
  heldIn,
  hearingOf,
  knownContents,
  lockReaders,
  type Movement,
  type Queryable,
  readersOf,
  releaseCopies,
  saveMovements,
  saveReaders,
  saveSharedEvents,
  sharedEvents,
  type Sighting,
} from "@linkspan/store";
import type { Candidate } from "./candidate.ts";
import type { OwnPeople } from "./own-people.ts";
import { type Copy, HOLD_MS, ReaderBook, SAME_WITHIN_MS } from "./readers.ts";

export interface FanOutChoice {
  fansOut(candidate: Candidate): boolean;
  /** How many held copies of earlier batches were fanned out; these rows need positions. */
  readonly released: number;
  /** Stores the decision, once the events have their places. */
  save(places: ReadonlyMap<string, EventPlace | undefined>): Promise<void>;
}

/** @param candidates one for each event id, in the order in which they came */
export async function chooseFanOut(
  on: Queryable,
  candidates: readonly Candidate[],
  people: OwnPeople,
  now: Date,
): Promise<FanOutChoice> {
  const sightings = candidates.map(sightingOf).filter((seen) => seen !== undefined);
  const contested = await contestedAmong(on, sightings);
  const movements = new Movements();
  if (contested.size === 0) {
    for (const candidate of candidates) movements.follow(candidate, people);
    return { fansOut: () => true, released: 0, save: () => movements.save(on) };
  }
  const disputed = sightings.filter((seen) => contested.has(nameOf(seen)));
  const readers = new Map((await lockReaders(on, disputed)).map((row) => [nameOf(row), row]));
  const copies = await freshCopies(on, candidates, contested);
  const presence = await Presence.load(on, [
    ...disputed,
    ...[...readers.values()].map((row) => ({ ...row, account: row.reader })),
  ]);
  const known = await sharedEvents(on, [...copies.values()], SAME_WITHIN_MS);
  const book = new ReaderBook({ readers, known, ears: presence, now, rowKey });
  for (const candidate of candidates) {
    const copy = copies.get(candidate);
    if (copy !== undefined) {
      if (presence.returned(copy, candidate)) movements.add(movementOf(candidate, copy.account, true));
      book.take(copy);
    }
    for (const movement of movements.follow(candidate, people)) presence.move(movement);
  }
  const held = await heldIn(on, [...book.released].map(rowKey));
  return {
    fansOut: (candidate) => {
      const copy = copies.get(candidate);
      return copy === undefined ? !isOf(candidate, contested) : book.fansOut(copy);
    },
    released: await releaseCopies(
      on,
      held.filter((id) => !book.superseded.has(id)),
    ),
    save: async (places) => {
      await saveReaders(on, book.changedReaders);
      const rows = book.changedRows.map(({ event, held }) => ({ event, held: held && places.get(held.key) }));
      await saveSharedEvents(on, rows, HOLD_MS);
      await movements.save(on);
    },
  };
}

/** Conversations that are seen by more than one account, or whose first account is not known yet. */
async function contestedAmong(on: Queryable, sightings: readonly Sighting[]): Promise<Set<string>> {
  const unique = new Map(sightings.map((seen) => [nameOf(seen), seen]));
  const readers = new Map((await readersOf(on, [...unique.values()])).map((row) => [nameOf(row), row]));
  const contested = sightings.filter((seen) => {
    const row = readers.get(nameOf(seen));
    return row === undefined || row.shared || row.reader !== seen.account;
  });
  return new Set(contested.map(nameOf));
}

/** Leaves out copies that were stored before, so that a repeated delivery changes nothing. */
async function freshCopies(
  on: Queryable,
  candidates: readonly Candidate[],
  contested: ReadonlySet<string>,
): Promise<Map<Candidate, Copy>> {
  const some = candidates.filter((candidate) => isOf(candidate, contested));
  const stored = await knownContents(
    on,
    some.map(({ row }) => row),
  );
  const fresh = some.filter(({ key }) => !stored.has(key));
  return new Map(fresh.map((candidate) => [candidate, copyOf(candidate)]));
}

function copyOf({ key, row, event, admitted }: Candidate): Copy {
  const { workspaceId, conversation = "", account, content } = row;
  const { kind = "history", sender, text, entities, media, target } = event ?? {};
  const likeness = [
    workspaceId,
    conversation,
    kind,
    sender?.ref,
    text,
    kind === "membership" ? target : undefined,
    entities,
    media?.map((item) => item.sha256 ?? item.name),
    // Histories are compared as a whole.
    event === undefined ? key : undefined,
  ];
  return {
    key,
    conversation: nameOf({ workspaceId, ref: conversation }),
    account,
    kind,
    exact: Buffer.from(content),
    loose: digest(JSON.stringify(likeness)),
    sentAt: new Date(event?.sent_at ?? admitted.opened.envelope.occurred_at),
  };
}

/** Changes of where our own accounts are: the newest in the batch for each account and conversation. */
class Movements {
  readonly #newest = new Map<string, Movement>();

  /** @returns the movements that the event reports */
  follow(candidate: Candidate, people: OwnPeople): Movement[] {
    const moves = people.movesOf(candidate);
    return moves.map(({ account, present }) => this.add(movementOf(candidate, account, present)));
  }

  add(movement: Movement): Movement {
    this.#newest.set(`${nameOf(movement)} ${movement.account}`, movement);
    return movement;
  }

  save(on: Queryable): Promise<void> {
    return saveMovements(on, [...this.#newest.values()]);
  }
}

/** Which accounts receive which conversations: as stored in the tables, and as the batch changes it. */
class Presence {
  readonly #connected = new Set<string>();
  readonly #unlinked = new Set<string>();
  readonly #absentSince = new Map<string, Date>();

  static async load(
    on: Queryable,
    asked: readonly (ConversationKey & { readonly account: string })[],
  ): Promise<Presence> {
    const unique = new Map(asked.map((one) => [`${nameOf(one)} ${one.account}`, one]));
    const presence = new Presence();
    for (const one of await hearingOf(on, [...unique.values()])) {
      if (one.connected) presence.#connected.add(one.account);
      if (one.unlinked) presence.#unlinked.add(one.account);
      if (one.absentSince !== undefined) {
        presence.#absentSince.set(`${nameOf(one)} ${one.account}`, one.absentSince);
      }
    }
    return presence;
  }

  connected(account: string): boolean {
    return this.#connected.has(account);
  }

  unlinked(account: string): boolean {
    return this.#unlinked.has(account);
  }

  present(conversation: string, account: string): boolean {
    return !this.#absentSince.has(`${conversation} ${account}`);
  }

  move(movement: Movement): void {
    const key = `${nameOf(movement)} ${movement.account}`;
    if (movement.present) this.#absentSince.delete(key);
    else this.#absentSince.set(key, movement.at);
  }

  /**
   * An account that receives other people's messages is in the conversation again, even if no event reported
   * it.
   */
  returned(copy: Copy, { event }: Candidate): boolean {
    const key = `${copy.conversation} ${copy.account}`;
    const since = this.#absentSince.get(key);
    if (since === undefined || event?.kind !== "message" || event.sender.is_self || copy.sentAt <= since) {
      return false;
    }
    return this.#absentSince.delete(key);
  }
}

function movementOf({ row, event }: Candidate, account: string, present: boolean): Movement {
  const at = new Date(event?.sent_at ?? 0);
  return { workspaceId: row.workspaceId, ref: row.conversation ?? "", account, present, at };
}

function sightingOf({ row }: Candidate): Sighting | undefined {
  const { workspaceId, conversation: ref, service, account } = row;
  return ref === undefined ? undefined : { workspaceId, ref, service, account };
}

function isOf({ row }: Candidate, contested: ReadonlySet<string>): boolean {
  return (
    row.conversation !== undefined &&
    contested.has(nameOf({ workspaceId: row.workspaceId, ref: row.conversation }))
  );
}

function nameOf({ workspaceId, ref }: ConversationKey): string {
  return `${workspaceId} ${ref}`;
}

function rowKey(conversation: string): Buffer {
  return digest(conversation);
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
