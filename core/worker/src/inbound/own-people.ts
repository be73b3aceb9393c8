/**
 * Our own people, as others see them: a linked identity that speaks, joins or is removed where another account of the
 * same workspace reads. The stored bytes stay as the daemon signed them; what is known beside them is kept beside
 * them.
 *
 * An identity is known by the sender ref of its own events (`is_self`), the newest one, while it is linked and
 * connected: some platforms give a name to somebody else when its owner is away. Names do not reach beyond their
 * service, whatever a daemon writes. A name is an account's no more when it changed it (`nick`, with the new name as
 * target), and when the account itself hears somebody else under it.
 */
import type { InboundEvent } from "@linkspan/envelopes";
import { forgetRefs, ownersOfRefs, type Queryable, saveRefs, type SenderRef } from "@linkspan/store";
import type { Candidate } from "./candidate.ts";

/** What an account's own membership event says of it; other changes, such as of a name, say nothing. */
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

  /** Keeps the names that accounts of this batch were seen under, and finds the owners of all others. */
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

  /** The linked identity whose words they are; undefined for other people's. */
  speakerOf({ event, row }: Candidate): string | undefined {
    if (event === undefined) return undefined;
    if (event.sender.is_self) return row.account;
    return this.#ownersOf(row, event.sender.ref).find((account) => account !== row.account);
  }

  /** Which of our accounts a membership event brings into its conversation, or takes out of it. */
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

/** What an event says of the name of the account that delivers it. */
function ownRefOf({ event, row }: Candidate): string | undefined {
  if (event?.sender.is_self !== true) return undefined;
  const ref = renamedTo(event) ?? event.sender.ref;
  return isOfService(row.service, ref) ? ref : undefined;
}

/** Names that an event mentions, of others or of a member that it concerns. */
function othersNamed({
  event,
  row,
}: Candidate): readonly { readonly ref: string; readonly speaks: boolean }[] {
  if (event === undefined) return [];
  const { ref, is_self } = event.sender;
  const names = [
    ...(is_self ? [] : [{ ref, speaks: true }]),
    ...[subjectOf(event)].filter((name) => name !== undefined).map((name) => ({ ref: name, speaks: false })),
  ];
  return names.filter((name) => isOfService(row.service, name.ref));
}

/** Whom a membership event concerns, where that is not its sender. */
function subjectOf(event: InboundEvent): string | undefined {
  return event.kind === "membership" && event.text !== RENAMED ? event.target : undefined;
}

function renamedTo(event: InboundEvent): string | undefined {
  return event.kind === "membership" && event.text === RENAMED ? event.target : undefined;
}

function isOfService(service: string, ref: string): boolean {
  return ref.startsWith(`msgr://identity/bridges/${service}/`);
}

/** Rows are written in one order, so that two batches never wait for each other. */
function inOrder(refs: Iterable<OwnRef>): OwnRef[] {
  return [...refs].toSorted((a, b) => (a.account < b.account ? -1 : 1));
}
