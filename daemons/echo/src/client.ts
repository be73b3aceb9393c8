/**
 * The platform: a chat network in this process whose only other user repeats every message that it gets.
 *
 * It keeps what a real one keeps: an ordered log per account, the ids it gave, and the idempotency keys it saw. It
 * outlives connections, so a daemon that comes back reads on from its cursor.
 */
import { EventEmitter } from "node:events";

/** An activity in a channel; fields that do not apply to its kind are absent. */
export interface Activity {
  readonly kind: "message" | "edit" | "delete" | "reaction" | "typing" | "receipt" | "membership";
  readonly channel: string;
  readonly text?: string;
  readonly target?: string;
  readonly replyTo?: string;
  readonly entities?: readonly unknown[];
  /** The account's own number of the message in its channel. */
  readonly count?: number;
}

/** An activity as an account sees it. */
export interface Entry {
  /** Place in that account's log, from 1. */
  readonly seq: number;
  readonly id: string;
  readonly from: string;
  readonly at: Date;
  readonly activity: Activity;
}

/** What one connection of an account is told. */
export interface AccountListener {
  /** Something was added to the account's log. */
  readonly entry: () => void;
  /** The account's connections are cut. */
  readonly drop: () => void;
}

interface Account {
  readonly log: Entry[];
  readonly sent: Map<string, { readonly id: string; readonly at: Date }>;
  readonly listeners: Set<AccountListener>;
  /** Echoes held back until the next one is delivered. */
  held: Activity[];
}

interface PlatformEvents {
  /** An account did something for the first time under its key. */
  performed: [account: string, activity: Activity];
}

export const PEER = "echo";

export class EchoPlatform extends EventEmitter<PlatformEvents> {
  readonly #accounts = new Map<string, Account>();
  readonly #now: () => Date;
  #ids = 0;

  constructor(now: () => Date = () => new Date()) {
    super();
    this.#now = now;
    this.setMaxListeners(0);
  }

  /** Performs the activity of an account once per key; the peer repeats it. */
  perform(
    account: string,
    key: string,
    activity: Activity,
    style: EchoStyle = {},
  ): { readonly id: string; readonly at: Date } {
    const { sent } = this.#account(account);
    const before = sent.get(key);
    if (before !== undefined) return before;
    const done = { id: this.#newId(), at: this.#now() };
    sent.set(key, done);
    this.emit("performed", account, activity);
    this.#echo(account, activity.kind === "message" ? { ...activity, replyTo: done.id } : activity, style);
    return done;
  }

  /** The activity that was performed under a key. */
  find(account: string, key: string): { readonly id: string; readonly at: Date } | undefined {
    return this.#account(account).sent.get(key);
  }

  /** How many different things an account did. */
  countOf(account: string): number {
    return this.#account(account).sent.size;
  }

  /** Somebody does something that the account sees. */
  happen(account: string, activity: Activity, from: string = PEER, id: string = this.#newId()): Entry {
    const { log, listeners } = this.#account(account);
    const entry: Entry = { seq: log.length + 1, id, from, at: this.#now(), activity };
    log.push(entry);
    for (const listener of listeners) listener.entry();
    return entry;
  }

  /** The first entry after a place in the log. */
  after(account: string, seq: number): Entry | undefined {
    return this.#account(account).log[seq];
  }

  /** Channels that the account has seen anything in. */
  channelsOf(account: string): readonly string[] {
    return [...new Set(this.#account(account).log.map(({ activity }) => activity.channel))];
  }

  drop(account: string): void {
    for (const listener of this.#account(account).listeners) listener.drop();
  }

  /** @returns ends it */
  listen(account: string, listener: AccountListener): () => void {
    const { listeners } = this.#account(account);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  #echo(account: string, activity: Activity, { silent, twice, late }: EchoStyle): void {
    if (silent === true) return;
    const state = this.#account(account);
    if (late === true) {
      state.held.push(activity);
      return;
    }
    const entry = this.happen(account, activity);
    if (twice === true) this.happen(account, activity, PEER, entry.id);
    for (const held of state.held.splice(0)) this.happen(account, held);
  }

  #account(name: string): Account {
    const known = this.#accounts.get(name);
    if (known !== undefined) return known;
    const account: Account = { log: [], sent: new Map(), listeners: new Set(), held: [] };
    this.#accounts.set(name, account);
    return account;
  }

  #newId(): string {
    this.#ids += 1;
    return `e${this.#ids}`;
  }
}

/** How the peer answers. */
export interface EchoStyle {
  /** It does not. */
  readonly silent?: boolean;
  /** The same event comes two times. */
  readonly twice?: boolean;
  /** It comes only after the next one. */
  readonly late?: boolean;
}
