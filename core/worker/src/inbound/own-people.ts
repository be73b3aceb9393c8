/**
 * Recognises our own linked identities in other accounts' events: an identity that sends a message, joins or
 * is removed in a conversation that another account of the same workspace reads. The stored bytes stay as the
 * daemon signed them; this additional knowledge is stored separately.
 *
 * An identity is known by the newest sender ref of its own events (`is_self`), while it is linked and
 * connected: some platforms give a name to another person when its owner is not connected. Names are valid
 * only within their service, whatever a daemon writes. A name no longer belongs to an account when the
 * account changed it (`nick`, with the new name as target), or when the account itself receives a message of
 * somebody else under that name.
 */
import type { InboundEvent } from "@linkspan/envelopes";
import { forgetRefs, ownersOfRefs, type Queryable, saveRefs, type SenderRef } from "@linkspan/store";
import type { Candidate } from "./candidate.ts";

/**
 * Membership changes after which an account is not in the conversation; other changes, such as of a name, do
 * not count.
 */
const LEFT: ReadonlySet<string> = new Set([
  "leave",
  "part",
  "kick",
  "ban",
  "quit",
  "remove",
  "removed",
  "netsplit",
]);
const RENAMED = "nick";
const CAME: ReadonlySet<string> = new Set(["join", "netjoin", "add", "added"]);

type OwnRef = SenderRef & { readonly account: string };

export interface Move {
  readonly account: string;
  readonly present: boolean;
}

export class OwnPeople {
  readonly #owners: ReadonlyMap<string, readonly string[]>;

  private constructor(owners: ReadonlyMap<string, readonly string[]>) {
    this.#owners = owners;
  }

  /**
   * Stores the names that accounts of this batch were seen under, and finds the owners of all other names.
   */
  static async load(on: Queryable, candidates: readonly Candidate[]): Promise<OwnPeople> {
    const own = new Map<string, OwnRef>();
    const lost = new Map<string, OwnRef>();
    const named = new Map<string, SenderRef>();
    for (const candidate of candidates) {
      const { account, workspaceId } = candidate.row;
      const ref = ownRefOf(candidate);
      const before = own.get(account);
      if (ref !== undefined) own.set(account, { workspaceId, ref, account });
      for (const name of othersNamed(candidate)) {
        named.set(`${workspaceId} ${name.ref}`, { workspaceId, ref: name.ref });
        if (!name.speaks) continue;
        lost.set(`${account} ${name.ref}`, { workspaceId, ref: name.ref, account });
        if (before?.ref === name.ref) own.delete(account);
      }
    }
    await forgetRefs(on, inOrder(lost.values()));
    await saveRefs(on, inOrder(own.values()));
    const owners = new Map<string, string[]>();
    for (const { workspaceId, ref, account } of await ownersOfRefs(on, [...named.values()])) {
      const key = `${workspaceId} ${ref}`;
      owners.set(key, [...(owners.get(key) ?? []), account]);
    }
    return new OwnPeople(owners);
  }

  /** The linked identity that sent the event; undefined for other people's events. */
  speakerOf({ event, row }: Candidate): string | undefined {
    if (event === undefined) return undefined;
    if (event.sender.is_self) return row.account;
    return this.#ownersOf(row, event.sender.ref).find((account) => account !== row.account);
  }

  /** Which of our accounts a membership event adds to its conversation, or removes from it. */
  movesOf({ event, row }: Candidate): readonly Move[] {
    if (event?.kind !== "membership" || row.conversation === undefined) return [];
    const present = CAME.has(event.text ?? "");
    if (!present && !LEFT.has(event.text ?? "")) return [];
    const subject = subjectOf(event);
    const ref = subject ?? event.sender.ref;
    const accounts = new Set(this.#ownersOf(row, ref));
    if (subject === undefined) {
      if (event.sender.is_self) accounts.add(row.account);
      else accounts.delete(row.account);
    }
    return [...accounts].map((account) => ({ account, present }));
  }

  #ownersOf({ service, workspaceId }: Candidate["row"], ref: string): readonly string[] {
    return isOfService(service, ref) ? (this.#owners.get(`${workspaceId} ${ref}`) ?? []) : [];
  }
}

/** The name that an event shows for the account that delivers it. */
function ownRefOf({ event, row }: Candidate): string | undefined {
  if (event?.sender.is_self !== true) return undefined;
  const ref = renamedTo(event) ?? event.sender.ref;
  return isOfService(row.service, ref) ? ref : undefined;
}

/** Names in an event: of other senders, or of a member that it concerns. */
function othersNamed({
  event,
  row,
}: Candidate): readonly { readonly ref: string; readonly speaks: boolean }[] {
  if (event === undefined) return [];
  const names = [];
  const { ref, is_self } = event.sender;
  if (!is_self && isOfService(row.service, ref)) names.push({ ref, speaks: true });
  const subject = subjectOf(event);
  if (subject !== undefined && isOfService(row.service, subject)) names.push({ ref: subject, speaks: false });
  return names;
}

/** The member that a membership event concerns, if that is not its sender. */
function subjectOf(event: InboundEvent): string | undefined {
  return event.kind === "membership" && event.text !== RENAMED ? event.target : undefined;
}

function renamedTo(event: InboundEvent): string | undefined {
  return event.kind === "membership" && event.text === RENAMED ? event.target : undefined;
}

function isOfService(service: string, ref: string): boolean {
  return ref.startsWith(`msgr://identity/bridges/${service}/`);
}

/** Sorts the rows, because rows are written in one order, so that two batches never block each other. */
function inOrder(refs: Iterable<OwnRef>): OwnRef[] {
  return [...refs].toSorted((a, b) => (a.account < b.account ? -1 : 1));
}
