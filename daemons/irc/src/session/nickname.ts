/**
 * The nickname that we want, the one that we have, and how to get from one to the other.
 *
 * Taken at registration: the next spelling, `nick_`, `nick__`, then with a random number. Taken back: through
 * NickServ, when its holder quits or changes away, when MONITOR says that it is free, and every minute.
 */
export interface NicknameOptions {
  readonly wanted: string;
  readonly same: (a: string, b: string) => boolean;
  readonly write: (line: string) => void;
  readonly random?: () => number;
}

const ASK_EVERY_MS = 60_000;
const MAX_TRIES = 12;

export class Nickname implements Disposable {
  readonly #options: Required<NicknameOptions>;
  #current: string;
  #tries = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: NicknameOptions) {
    this.#options = { random: Math.random, ...options };
    this.#current = options.wanted;
  }

  get current(): string {
    return this.#current;
  }

  get isWanted(): boolean {
    return this.#options.same(this.#current, this.#options.wanted);
  }

  isSelf(nick: string): boolean {
    return this.#options.same(nick, this.#current);
  }

  /** The server says what it is: at registration, and whenever it changes. */
  is(nick: string): void {
    this.#current = nick;
    if (this.isWanted) this[Symbol.dispose]();
  }

  /** The next one to try while registering; undefined when enough were tried. */
  next(): string | undefined {
    this.#tries += 1;
    if (this.#tries > MAX_TRIES) return undefined;
    const { wanted, random } = this.#options;
    // Nine characters fit everywhere; the first tries keep the whole of a longer one.
    const base = this.#tries <= 3 ? wanted : wanted.slice(0, 5);
    const tail = this.#tries <= 2 ? "_".repeat(this.#tries) : String(Math.floor(random() * 9_000) + 1_000);
    return base + tail;
  }

  /** Registered under another one: wait for ours. */
  recover(hasMonitor: boolean): void {
    if (this.isWanted || this.#timer !== undefined) return;
    const { wanted, write } = this.#options;
    if (hasMonitor) write(`MONITOR + ${wanted}`);
    this.#timer = setInterval(() => this.take(), ASK_EVERY_MS);
  }

  /** Somebody left a nickname; if it is ours, take it. */
  freed(nick: string): void {
    if (this.#options.same(nick, this.#options.wanted)) this.take();
  }

  /** Asks the server for ours. */
  take(): void {
    if (!this.isWanted) this.#options.write(`NICK ${this.#options.wanted}`);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
