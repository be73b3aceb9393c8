/**
 * Confirms that a text was sent. The server never answers a PRIVMSG, so there are two ways.
 *
 *   labels on:  the answer that carries our label: our own echo (said), an error (not said), an ACK (said, where
 *               there are no echoes)
 *   labels off: every text is followed by a PING. A server answers in order: an error before the PONG is the
 *               text's, no error means said. An own echo in between gives it the server's id; it is known by its
 *               words. Another client of the account may speak there at the same time, and a server may alter what
 *               we said, so a line of ours with other words waits for the PONG: if the echo has not come by then, the
 *               line most like the text is it, and all others become events. Some servers send the echo from
 *               where the other person is, long after the PONG: it is waited for without holding anything up.
 *
 * A text that has neither when the connection ends is uncertain.
 */
import { UncertainSend, type Said } from "@linkspan/daemon-kit";
import { serverTime, type Line } from "../inbound.ts";
import { refusalOf } from "../refusals.ts";
import type { Names } from "./names.ts";
import { MARK, plain } from "./own-sends.ts";

export interface ConfirmationOptions {
  readonly labels: () => boolean;
  readonly echoes: () => boolean;
  readonly names: Names;
  /** Names what the server gives no id; unique among all connections. */
  readonly connection: string;
}

export interface Text {
  readonly command: "PRIVMSG" | "NOTICE";
  readonly target: string;
  readonly text: string;
  /** Client tags, encoded, such as `+draft/reply=abc`. */
  readonly tags?: readonly string[];
}

interface Pending extends Text {
  readonly label: string | undefined;
  readonly token: string | undefined;
  readonly id: string;
  settled: boolean;
  readonly promise: PromiseWithResolvers<Said>;
}

/** A line of ours whose text we cannot tell yet. */
interface Held {
  readonly line: Line;
  readonly at: Date;
  /** Makes its events. */
  readonly tell: () => void;
}

/** A text that was said and whose echo has not come. */
interface Owed {
  readonly command: string;
  readonly target: string;
  readonly text: string;
  readonly at: Date;
}

const MAX_OWED = 64;
const OWED_MS = 60_000;

/** Labels that every server echoes; at most 64 bytes. */
const LABEL = /^[A-Za-z0-9_-]{1,64}$/;

export class Confirmations {
  readonly #options: ConfirmationOptions;
  /** In the order written. */
  readonly #pending: Pending[] = [];
  #held: Held[] = [];
  #owed: Owed[] = [];
  #count = 0;

  constructor(options: ConfirmationOptions) {
    this.#options = options;
  }

  get pending(): number {
    return this.#pending.length;
  }

  /** How many lines one text takes. */
  get linesPerText(): number {
    return this.#options.labels() ? 1 : 2;
  }

  /** @returns the lines to write now, in this order, and the proof that they were taken */
  expect(text: Text, key: string): { lines: readonly string[]; said: Promise<Said> } {
    const { connection } = this.#options;
    const labels = this.#options.labels();
    this.#count += 1;
    const id = `${connection}.w${this.#count}`;
    const free = LABEL.test(key) && !this.#pending.some(({ label }) => label === key);
    const pending: Pending = {
      ...text,
      id,
      label: labels ? (free ? key : id) : undefined,
      token: labels ? undefined : id,
      settled: false,
      promise: Promise.withResolvers(),
    };
    pending.promise.promise.catch(() => undefined);
    this.#pending.push(pending);
    const tags = [...(pending.label === undefined ? [] : [`label=${pending.label}`]), ...(text.tags ?? [])];
    const line = `${text.command} ${text.target} :${text.text}`;
    return {
      lines: [
        tags.length === 0 ? line : `@${tags.join(";")} ${line}`,
        ...(pending.token === undefined ? [] : [`PING :${pending.token}`]),
      ],
      said: pending.promise.promise,
    };
  }

  /**
   * @param label the line's own, or that of the batch it is in
   * @param tell makes the events of the line; called later, where it is not known yet whether it is the echo of a text
   * @returns whether the line is the echo of something said here, or may be, and so makes no event now
   */
  see(line: Line, label: string | undefined, at: Date, tell: () => void): boolean {
    if (line.command === "PONG") this.#pong(line.params.at(-1), at);
    else if (line.command === "ACK") this.#acknowledged(label, at);
    else if (line.command === "PRIVMSG" || line.command === "NOTICE") {
      // An echo of what was said with a label carries it; what was said without one is known otherwise.
      return this.#labelledEcho(line, label, at) || this.#echo({ line, at, tell });
    } else this.#refused(line, label);
    return false;
  }

  /** The connection has ended. */
  end(): void {
    for (const pending of this.#pending.splice(0)) {
      this.#reject(pending, new UncertainSend("the connection ended before the server confirmed it"));
    }
    this.#release();
  }

  #labelledEcho(line: Line, label: string | undefined, at: Date): boolean {
    if (label === undefined || !this.#options.names.isSelf(line.nick)) return false;
    const echoed = this.#labelled(label);
    if (echoed !== undefined) this.#said(echoed, at, line);
    return true;
  }

  #echo(held: Held): boolean {
    const { echoes, names } = this.#options;
    const { line, at } = held;
    if (!echoes() || !names.isSelf(line.nick)) return false;
    if (this.#isOwed(line, at)) return true;
    const open = this.#pending.filter((pending) => !pending.settled && this.#isTo(pending, line));
    const echoed =
      open.find(
        ({ tags }) => line.tags[MARK] !== undefined && tags?.includes(`${MARK}=${line.tags[MARK]}`),
      ) ??
      open.find(({ text }) => text === line.params[1]) ??
      open.find(({ text }) => plain(text) === plain(line.params[1] ?? ""));
    if (echoed !== undefined) {
      this.#said(echoed, at, line);
      this.#release();
    } else if (open.length > 0) this.#held.push(held);
    return open.length > 0;
  }

  #pong(token: string | undefined, at: Date): void {
    const index = this.#pending.findIndex(
      (pending) => pending.token !== undefined && pending.token === token,
    );
    for (const pending of this.#pending.splice(0, index + 1)) {
      if (pending.settled) continue;
      const altered = this.#likest(pending);
      this.#held = this.#held.filter((held) => held !== altered);
      if (altered === undefined && this.#options.echoes()) this.#owe(pending, at);
      this.#said(pending, altered?.at ?? at, altered?.line);
    }
    this.#release();
  }

  #owe({ command, target, text }: Pending, at: Date): void {
    this.#owed.push({ command, target, text: plain(text), at });
    if (this.#owed.length > MAX_OWED) this.#owed.shift();
  }

  /** Whether a line of ours is the late echo of what has counted as said already; each comes once. */
  #isOwed({ command, params }: Line, at: Date): boolean {
    this.#owed = this.#owed.filter((owed) => at.getTime() - owed.at.getTime() < OWED_MS);
    const found = this.#owed.findIndex(
      (owed) =>
        owed.command === command &&
        this.#isTarget(owed.target, params[0] ?? "") &&
        owed.text === plain(params[1] ?? ""),
    );
    if (found >= 0) this.#owed.splice(found, 1);
    return found >= 0;
  }

  /** Of the lines that may be the echo of a text, the one that shares most words with it; of equals, the first. */
  #likest(pending: Pending): Held | undefined {
    const words = new Set(plain(pending.text).split(" "));
    const likeness = ({ line }: Held): number =>
      plain(line.params[1] ?? "")
        .split(" ")
        .filter((word) => words.has(word)).length;
    return this.#held
      .filter(({ line }) => this.#isTo(pending, line))
      .reduce<Held | undefined>(
        (best, held) => (best === undefined || likeness(held) > likeness(best) ? held : best),
        undefined,
      );
  }

  /** A line that cannot be an echo any more becomes an event. */
  #release(): void {
    const isOpen = ({ line }: Held): boolean =>
      this.#pending.some((pending) => !pending.settled && this.#isTo(pending, line));
    const released = this.#held.filter((held) => !isOpen(held));
    this.#held = this.#held.filter(isOpen);
    for (const { tell } of released) tell();
  }

  #isTo(pending: Pending, { command, params }: Line): boolean {
    return (
      pending.label === undefined &&
      pending.command === command &&
      this.#isTarget(pending.target, params[0] ?? "")
    );
  }

  /** A service may be named with its server, `NickServ@services.network`, and be shown without. */
  #isTarget(a: string, b: string): boolean {
    return this.#options.names.same(withoutServer(a), withoutServer(b));
  }

  #acknowledged(label: string | undefined, at: Date): void {
    const pending = this.#labelled(label);
    if (pending === undefined) return;
    if (!this.#options.echoes()) this.#said(pending, at, undefined);
    else this.#reject(pending, new UncertainSend("the server took it but showed no echo of it"));
  }

  #refused(line: Line, label: string | undefined): void {
    const pending = this.#labelled(label) ?? this.#pending.find((one) => one.label === undefined);
    if (pending === undefined || pending.settled) return;
    const isTarget = (name: string) => this.#isTarget(name, pending.target);
    const error = refusalOf(line, isTarget, pending.label !== undefined);
    if (error === undefined) return;
    this.#reject(pending, error);
    this.#release();
  }

  #labelled(label: string | undefined): Pending | undefined {
    return label === undefined ? undefined : this.#pending.find((pending) => pending.label === label);
  }

  #said(pending: Pending, at: Date, echo: Line | undefined): void {
    this.#settle(pending);
    const remoteId = echo?.tags["msgid"] || pending.id;
    pending.promise.resolve({ remoteId, at: (echo === undefined ? undefined : serverTime(echo)) ?? at });
  }

  #reject(pending: Pending, error: Error): void {
    this.#settle(pending);
    pending.promise.reject(error);
  }

  /** With a PING out, it keeps its place until the PONG: what comes before that is about it. */
  #settle(pending: Pending): void {
    pending.settled = true;
    const index = this.#pending.indexOf(pending);
    if (pending.token === undefined && index >= 0) this.#pending.splice(index, 1);
  }
}

function withoutServer(name: string): string {
  return /^[#&+!]/.test(name) ? name : name.replace(/@.*/, "");
}
