/**
 * When is a line said? The server never answers a PRIVMSG, so there are two proofs.
 *
 *   labels on:  the answer that carries our label: our own echo (said), an error (not said), an ACK (said, where
 *               there are no echoes)
 *   labels off: every text is followed by a PING. A server answers in order: an error before the PONG is the
 *               text's, no error means said. An own echo in between gives it the server's id.
 *
 * What has neither when the connection ends may or may not have been said.
 */
import { UncertainSend, type Said } from "@linkspan/daemon-kit";
import { serverTime, type Line } from "../inbound.ts";
import { refusalOf } from "../errors.ts";

export interface ConfirmationOptions {
  readonly labels: boolean;
  readonly echoes: boolean;
  readonly isSelf: (nick: string) => boolean;
  readonly same: (a: string, b: string) => boolean;
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

/** What a server must echo in a label, at most 64 bytes. */
const LABEL = /^[A-Za-z0-9_-]{1,64}$/;

export class Confirmations {
  readonly #options: ConfirmationOptions;
  /** In the order written. */
  readonly #pending: Pending[] = [];
  #count = 0;

  constructor(options: ConfirmationOptions) {
    this.#options = options;
  }

  get pending(): number {
    return this.#pending.length;
  }

  /** How many lines one text takes. */
  get linesPerText(): number {
    return this.#options.labels ? 1 : 2;
  }

  /** @returns the lines to write now, in this order, and the proof that they were taken */
  expect(text: Text, key: string): { lines: readonly string[]; said: Promise<Said> } {
    const { labels, connection } = this.#options;
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
   * @returns whether the line is the echo of something said here, and so no news
   */
  see(line: Line, label: string | undefined, at: Date): boolean {
    if (line.command === "PONG") this.#pong(line.params.at(-1), at);
    else if (line.command === "ACK") this.#acknowledged(label, at);
    else if (line.command === "PRIVMSG" || line.command === "NOTICE") return this.#echo(line, label, at);
    else this.#refused(line, label);
    return false;
  }

  /** The connection has ended. */
  end(): void {
    for (const pending of this.#pending.splice(0)) {
      this.#reject(pending, new UncertainSend("the connection ended before the server confirmed it"));
    }
  }

  #echo(line: Line, label: string | undefined, at: Date): boolean {
    const { echoes, labels, isSelf, same } = this.#options;
    if (!echoes || !isSelf(line.nick)) return false;
    const [target = "", text] = line.params;
    const open = labels
      ? this.#pending.filter((pending) => label !== undefined && pending.label === label)
      : this.#pending.filter((pending) => !pending.settled && same(pending.target, target));
    // A server may strip colours from what it relays; then the first one to that target is meant.
    const echoed = open.find((pending) => pending.text === text) ?? open[0];
    if (echoed !== undefined) this.#said(echoed, at, line);
    return labels ? label !== undefined : echoed !== undefined;
  }

  #pong(token: string | undefined, at: Date): void {
    const index = this.#pending.findIndex(
      (pending) => pending.token !== undefined && pending.token === token,
    );
    for (const pending of this.#pending.splice(0, index + 1)) this.#said(pending, at, undefined);
  }

  #acknowledged(label: string | undefined, at: Date): void {
    const pending = this.#labelled(label);
    if (pending === undefined) return;
    if (!this.#options.echoes) this.#said(pending, at, undefined);
    else this.#reject(pending, new UncertainSend("the server took it but showed no echo of it"));
  }

  #refused(line: Line, label: string | undefined): void {
    const pending = this.#options.labels ? this.#labelled(label) : this.#pending[0];
    if (pending === undefined || pending.settled) return;
    const error = refusalOf(line, (name) => this.#options.same(name, pending.target));
    if (error !== undefined) this.#reject(pending, error);
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
