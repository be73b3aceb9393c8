/**
 * Our own people, as others see them: a linked identity that speaks, joins or is removed where another account of the
 * same workspace reads. The stored bytes stay as the daemon signed them; what is known beside them is kept beside
 * them.
 *
 * An identity is known by the sender ref of its own events (`is_self`), the newest one, while it is linked and
 * connected: some platforms give a name to somebody else when its owner is away.
 */
import { ownersOfRefs, type Queryable, saveRefs, type SenderRef } from "@linkspan/store";
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
const CAME: ReadonlySet<string> = new Set(["join", "netjoin", "add", "added"]);

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
    const own = new Map<string, SenderRef & { readonly account: string }>();
    const named = new Map<string, SenderRef>();
    for (const { event, row } of candidates) {
      if (event === undefined) continue;
      const { workspaceId, account } = row;
      const { ref, is_self } = event.sender;
      if (is_self) own.set(account, { workspaceId, ref, account });
      for (const name of is_self ? [subjectOf(event)] : [ref, subjectOf(event)]) {
        if (name !== undefined) named.set(`${workspaceId} ${name}`, { workspaceId, ref: name });
      }
    }
    await saveRefs(
      on,
      [...own.values()].toSorted((a, b) => (a.account < b.account ? -1 : 1)),
    );
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
    return this.#owners.get(`${row.workspaceId} ${event.sender.ref}`)?.[0];
  }

  /** Which of our accounts a membership event brings into its conversation, or takes out of it. */
  movesOf({ event, row }: Candidate): readonly Move[] {
    if (event?.kind !== "membership" || row.conversation === undefined) return [];
    const present = CAME.has(event.text ?? "");
    if (!present && !LEFT.has(event.text ?? "")) return [];
    const subject = subjectOf(event);
    const ref = subject ?? event.sender.ref;
    const accounts = new Set(this.#owners.get(`${row.workspaceId} ${ref}`));
    if (subject === undefined && event.sender.is_self) accounts.add(row.account);
    return [...accounts].map((account) => ({ account, present }));
  }
}

/** Whom a membership event concerns, where that is not its sender. */
function subjectOf(event: NonNullable<Candidate["event"]>): string | undefined {
  return event.kind === "membership" ? event.target : undefined;
}
