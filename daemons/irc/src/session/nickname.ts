/**
 * The nickname that we want, the one that we have, and how to get from one to the other.
 *
 * Taken at registration: the next spelling, `nick_`, `nick__`, then with a random number. Not ours, whether it was
 * taken at the start or the server or its services gave us another one later: asked back through NickServ, when its
 * holder quits or changes away, when MONITOR says that it is free, and by itself at growing intervals. A nickname that the
 * server shortens is ours in its short form; one that it does not take is not asked for again.
 */
import type { Names } from "./names.ts";
import type { Timers } from "./timers.ts";

export interface NicknameOptions {
  readonly wanted: string;
  readonly names: Names;
  readonly write: (line: string) => void;
  /** ISUPPORT `NICKLEN`, once known. */
  readonly maxLength: () => number | undefined;
  readonly timers: Timers;
  readonly random?: () => number;
  /** First wait before it is asked back; it doubles up to an hour. Default a minute. */
  readonly askAfterMs?: number;
}

const MAX_ASK_AFTER_MS = 3_600_000;
const MAX_TRIES = 12;
/** Every server takes as many characters (RFC 1459). */
const LEAST_MAX_LENGTH = 9;

export class Nickname {
  readonly #options: Required<NicknameOptions>;
  #tries = 0;
  #cancel: (() => void) | undefined;
  #askAfterMs: number;
  #refusal: string | undefined;
  #isMonitored = false;
  #wasForced = false;

  constructor(options: NicknameOptions) {
    this.#options = { random: Math.random, askAfterMs: 60_000, ...options };
    this.#askAfterMs = this.#options.askAfterMs;
  }

  get isWanted(): boolean {
    return this.#options.names.same(this.#options.names.nick, this.#options.wanted) || this.#isShortened;
  }

  /** How we are called, for a person. */
  get sentence(): string {
    const { wanted, names } = this.#options;
    if (this.#isShortened) return `${names.nick} (the server shortens ${wanted})`;
    if (this.isWanted) return names.nick;
    if (this.#refusal !== undefined) {
      return `${names.nick}, as the server does not take ${wanted} (${this.#refusal})`;
    }
    return this.#wasForced
      ? `${names.nick}, which the network gave us; ${wanted} is asked back`
      : `${names.nick}, as ${wanted} is taken and asked back`;
  }

  /** The server's answer at registration. */
  is(nick: string): void {
    this.#options.names.nick = nick;
    if (this.isWanted) this.#stop();
  }

  /** The server says that it has changed: on our own request, or because somebody else decided so. */
  changed(nick: string): void {
    this.#wasForced = true;
    this.is(nick);
    if (this.isWanted) this.#wasForced = false;
  }

  /** The next one to try while registering; undefined when enough were tried. */
  next(): string | undefined {
    this.#tries += 1;
    if (this.#tries > MAX_TRIES) return undefined;
    const { wanted, random } = this.#options;
    // Nine characters fit everywhere; the first tries keep the whole of a longer one.
    const base = this.#tries <= 3 ? wanted : [...wanted].slice(0, 5).join("");
    const tail = this.#tries <= 2 ? "_".repeat(this.#tries) : String(Math.floor(random() * 9_000) + 1_000);
    return base + tail;
  }

  /** We have another one: wait for ours. */
  recover(hasMonitor: boolean): void {
    if (this.isWanted || this.#cancel !== undefined || this.#refusal !== undefined) return;
    const { wanted, write, timers } = this.#options;
    if (hasMonitor && !this.#isMonitored) write(`MONITOR + ${wanted}`);
    this.#isMonitored = hasMonitor;
    const afterMs = this.#askAfterMs;
    this.#askAfterMs = Math.min(MAX_ASK_AFTER_MS, afterMs * 2);
    this.#cancel = timers.after(afterMs, () => {
      this.#cancel = undefined;
      this.take();
      this.recover(hasMonitor);
    });
  }

  /** Somebody left a nickname; if it is ours, take it. */
  freed(nick: string): void {
    if (this.#options.names.same(nick, this.#options.wanted)) this.take();
  }

  /** Asks the server for ours. */
  take(): void {
    if (!this.isWanted && this.#refusal === undefined) this.#options.write(`NICK ${this.#options.wanted}`);
  }

  /**
   * A NICK of ours was refused after registration.
   *
   * @param why for a person, when asking again cannot help
   * @returns whether a person should be told
   */
  refused(nick: string, why: string | undefined): boolean {
    if (
      why === undefined ||
      this.#refusal !== undefined ||
      !this.#options.names.same(nick, this.#options.wanted)
    ) {
      return false;
    }
    this.#refusal = why;
    this.#stop();
    return true;
  }

  /** Cut at the length that the server allows, which it may not have told. */
  get #isShortened(): boolean {
    const { wanted, names, maxLength } = this.#options;
    const { length } = names.nick;
    if (length >= wanted.length || length < Math.min(maxLength() ?? LEAST_MAX_LENGTH, wanted.length))
      return false;
    return names.same(names.nick, wanted.slice(0, length));
  }

  #stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }
}
