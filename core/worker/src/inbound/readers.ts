/**
 * Fans out each event of the platform once, however many accounts see it.
 *
 * Every account of ours in a shared conversation delivers its own copy. One of them is the conversation's
 * reader, and its copies are fanned out as they arrive. A copy of another account is held, because the reader
 * may have missed the event:
 *
 * - A copy is recognised by its content. Where the platform's ids are the same for all accounts, the content
 *   hash is equal. Where they are not, the same kind, sender and text within a minute are the same event, one
 *   for one: the second "ok" of an account is a copy of the second "ok" of another. Once copies of a kind
 *   arrived with equal ids in a conversation, only equal ids count for that kind there.
 * - When the reader's copy arrives, it is fanned out and the held one is not.
 * - When it does not arrive within a few seconds, the held copy is fanned out instead. If the reader's copy
 *   arrives later, it counts as a copy.
 * - A reader that left the conversation, is not connected, or whose instance has no holder is replaced by the
 *   next account that delivers an event. Held copies of the conversation are fanned out before that event.
 *
 * Limits: copies are remembered for some days. So older history is fanned out again when a second account of
 * the conversation reads it and the first account is not connected. Without common ids, two messages with the
 * same text within a minute are taken as one, if one account received only the first and the other only the
 * second. Messages from before a conversation had two accounts have no copies. A copy that is older than two
 * minutes when it arrives is history and is never released by time.
 *
 * Pure: rows, time and knowledge about accounts are arguments; changes are read from the book afterwards.
 */
import type { ConversationReader, SharedEvent } from "@linkspan/store";

/** How long the reader may be later than the account that saw an event first. */
export const HOLD_MS = 5_000;
/**
 * Tolerance for clocks of daemons, and for the different moments at which a server sends an event to its
 * clients.
 */
export const SAME_WITHIN_MS = 60_000;
/** A copy that is older than this when it arrives is history. */
export const LIVE_WITHIN_MS = 120_000;

export interface Copy {
  readonly key: string;
  readonly conversation: string;
  readonly account: string;
  readonly kind: string;
  readonly exact: Buffer;
  readonly loose: Buffer;
  readonly sentAt: Date;
}

export interface Ears {
  /** Linked, connected, and its instance is held. */
  connected(account: string): boolean;
  /** Permanently: no further events of the account will arrive. */
  unlinked(account: string): boolean;
  /** Whether the account is in the conversation, as far as is known. */
  present(conversation: string, account: string): boolean;
}

type Changeable<T> = { -readonly [K in keyof T]: T[K] };
type SharedRow = Changeable<SharedEvent> & { held?: Copy | undefined; changed?: boolean };
type ReaderRow = Changeable<ConversationReader> & { changed?: boolean };

export interface BookOptions {
  /** By conversation key. */
  readonly readers: ReadonlyMap<string, ConversationReader>;
  readonly known: readonly SharedEvent[];
  readonly ears: Ears;
  readonly now: Date;
  /** The key of a conversation's rows; 32 bytes. */
  readonly rowKey: (conversation: string) => Buffer;
}

export class ReaderBook {
  /** Conversations whose held copies of earlier batches are to be released first. */
  readonly released = new Set<string>();
  /** Rows of earlier batches whose held copy is not needed any more, because the reader's copy arrived. */
  readonly superseded = new Set<string>();
  readonly #options: BookOptions;
  readonly #readers: Map<string, ReaderRow>;
  readonly #rows: SharedRow[] = [];
  readonly #byContent = new Map<string, SharedRow[]>();
  readonly #byConversation = new Map<string, SharedRow[]>();
  readonly #newcomers = new Set<string>();
  readonly #fanOut = new Set<Copy>();

  constructor(options: BookOptions) {
    this.#options = options;
    this.#readers = new Map([...options.readers].map(([key, row]) => [key, { ...row }]));
    for (const row of options.known) this.#index({ ...row });
  }

  /** Adds one copy, in the order of arrival. It must not have been added in an earlier batch. */
  take(copy: Copy): void {
    const reader = this.#readers.get(copy.conversation);
    if (reader === undefined) throw new TypeError("a conversation without its row");
    if (reader.reader !== copy.account && !reader.shared) {
      reader.changed = true;
      if (this.#options.ears.unlinked(reader.reader)) reader.reader = copy.account;
      else reader.shared = true;
      this.#newcomers.add(`${copy.conversation} ${copy.account}`);
    }
    if (!reader.shared) {
      this.#fanOut.add(copy);
      return;
    }
    this.#elect(reader, copy);
    const row = this.#pair(reader, copy);
    if (row === undefined) this.#add(reader, copy);
    else this.#join(reader, row, copy);
  }

  /** Whether a copy that was added is fanned out. */
  fansOut(copy: Copy): boolean {
    return this.#fanOut.has(copy);
  }

  get changedReaders(): ConversationReader[] {
    return [...this.#readers.values()].filter((row) => row.changed === true);
  }

  get changedRows(): { readonly event: SharedEvent; readonly held: Copy | undefined }[] {
    return this.#rows
      .filter((row) => row.changed === true)
      .map((row) => ({ event: row, held: row.fannedOut ? undefined : row.held }));
  }

  #elect(reader: ReaderRow, copy: Copy): void {
    const { ears } = this.#options;
    const { conversation, account } = copy;
    if (reader.reader === account || !ears.present(conversation, account)) return;
    if (ears.connected(reader.reader) && ears.present(conversation, reader.reader)) return;
    reader.reader = account;
    reader.changed = true;
    this.released.add(conversation);
    for (const row of this.#rowsOf(conversation)) {
      if (row.fannedOut || row.held === undefined) continue;
      row.fannedOut = true;
      row.changed = true;
      this.#fanOut.add(row.held);
    }
  }

  #pair(reader: ReaderRow, copy: Copy): SharedRow | undefined {
    const exact = this.#openRows(copy.exact, copy.account)[0];
    if (exact !== undefined) {
      if (!reader.stableKinds.includes(copy.kind)) {
        reader.stableKinds = [...reader.stableKinds, copy.kind];
        reader.changed = true;
      }
      return exact;
    }
    if (reader.stableKinds.includes(copy.kind)) return undefined;
    return this.#openRows(copy.loose, copy.account).find(
      (row) => Math.abs(row.sentAt.getTime() - copy.sentAt.getTime()) <= SAME_WITHIN_MS,
    );
  }

  #join(reader: ReaderRow, row: SharedRow, copy: Copy): void {
    row.seenBy = [...row.seenBy, copy.account];
    row.changed = true;
    // All held copies of a released conversation are fanned out, those of earlier batches too.
    if (row.waiting && this.released.has(copy.conversation)) row.fannedOut = true;
    if (row.fannedOut || copy.account !== reader.reader) return;
    row.fannedOut = true;
    if (row.id !== undefined) this.superseded.add(row.id);
    this.#fanOut.add(copy);
  }

  #add(reader: ReaderRow, copy: Copy): void {
    const { conversation, account, exact, loose, sentAt } = copy;
    const isReader = account === reader.reader;
    // The reader has already delivered the events that a new account finds.
    if (!isReader && this.#newcomers.has(`${conversation} ${account}`)) return;
    if (isReader) this.#fanOut.add(copy);
    const live = this.#options.now.getTime() - sentAt.getTime() <= LIVE_WITHIN_MS;
    this.#index({
      conversation: this.#options.rowKey(conversation),
      exact,
      loose,
      sentAt,
      seenBy: [account],
      fannedOut: isReader,
      waiting: false,
      held: !isReader && live ? copy : undefined,
      changed: true,
    });
  }

  /** Rows of this content that the account has not delivered a copy of, oldest first. */
  #openRows(content: Buffer, account: string): SharedRow[] {
    const rows = this.#byContent.get(content.toString("hex")) ?? [];
    return rows.filter((row) => !row.seenBy.includes(account));
  }

  #rowsOf(conversation: string): readonly SharedRow[] {
    return this.#byConversation.get(this.#options.rowKey(conversation).toString("hex")) ?? [];
  }

  #index(row: SharedRow): void {
    this.#rows.push(row);
    add(this.#byContent, row.exact.toString("hex"), row);
    add(this.#byContent, row.loose.toString("hex"), row);
    add(this.#byConversation, row.conversation.toString("hex"), row);
  }
}

function add<V>(map: Map<string, V[]>, key: string, value: V): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, [value]);
  else values.push(value);
}
