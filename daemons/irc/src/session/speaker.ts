/** Performs an action inside its window and waits for the confirmation. */
import { type Said, UncertainSend, type Window } from "@linkspan/daemon-kit";
import { FabricError } from "@linkspan/envelopes";
import type { IrcClient } from "../client.ts";
import type { Line } from "../inbound.ts";
import type { Write } from "../outbound.ts";
import type { Channels } from "./channels.ts";
import { Confirmations } from "./confirmations.ts";
import type { Change, Joins } from "./joins.ts";
import type { Names } from "./names.ts";
import { MARK, type OwnSends } from "./own-sends.ts";
import type { Source } from "./source.ts";
import type { Timers } from "./timers.ts";
import { inside, isOpen } from "./window.ts";
import { notNow, type Writer } from "./writer.ts";

export interface SpeakerOptions {
  readonly client: IrcClient;
  readonly writer: Writer;
  readonly joins: Joins;
  readonly source: Source;
  readonly timers: Timers;
  /** Id of the connection. */
  readonly connection: string;
  readonly isWelcome: () => boolean;
  readonly names: Names;
  readonly channels: Channels;
  readonly ownSends: OwnSends;
  /** Written bytes have not left this process by the end of their window, and must not leave later. */
  readonly onStuck: () => void;
}

export class Speaker {
  readonly #options: SpeakerOptions;
  #confirmations: Confirmations | undefined;
  #changes = 0;

  constructor(options: SpeakerOptions) {
    this.#options = options;
  }

  /** Lines that one text takes; what its parts cost. Two until the server has said what it can. */
  get linesPerText(): number {
    return this.#confirmations?.linesPerText ?? 2;
  }

  /** @throws FabricError `platform.*` when it was not written; UncertainSend when it was, and not confirmed */
  async perform(write: Write, key: string, window: Window): Promise<Said> {
    const { joins } = this.#options;
    switch (write.do) {
      case "say":
        return this.#say(write, key, window);
      case "join":
        return this.#change(window, () => joins.join({ name: write.channel, key: write.key }));
      case "leave":
        return this.#change(window, () =>
          joins.leave(this.#options.channels.spelled(write.channel), write.reason),
        );
    }
  }

  /** Something private, such as a password: confirmed like anything, so that its echo is no event. */
  sayQuietly(target: string, text: string): void {
    this.#options.writer.now(this.#confirming().expect({ command: "PRIVMSG", target, text }, "").lines);
  }

  /**
   * @param tell makes the events of the line, later, if it turns out not to be ours
   * @returns whether the line is the echo of something said here, or may be, and so makes no event now
   */
  see(line: Line, label: string | undefined, at: Date, tell: () => void): boolean {
    return this.#confirmations?.see(line, label, at, tell) ?? false;
  }

  /** The connection is over: what is not confirmed by now is uncertain. */
  end(): void {
    this.#confirmations?.end();
  }

  async #say(write: Write & { do: "say" }, key: string, window: Window): Promise<Said> {
    const { names, joins, writer, source, timers, isWelcome, onStuck } = this.#options;
    const { command, text } = write;
    const target = this.#options.channels.spelled(write.target);
    const ready = names.isChannel(target) ? joins.ready(target) : undefined;
    if (ready !== undefined)
      await inside(window, timers, ready, () => notNow(`${target} has not been joined yet`));
    await writer.turn(this.#confirming().linesPerText, window);
    if (!isWelcome() || !isOpen(window, timers)) throw notNow("the time to send it is over");
    if (!source.carries(`${command} ${target} :${text}`)) {
      throw new FabricError("platform.too_long", "the server would cut it: our address there is too long");
    }
    const { ownSends } = this.#options;
    const tags = this.#tagsOf(write, key);
    const { lines, said } = this.#confirming().expect({ command, target, text, tags }, key);
    ownSends.add(names.fold(target), text);
    const hasLeft = writer.now(lines);
    try {
      return await inside(window, timers, said, () => new UncertainSend("no confirmation came in time"));
    } catch (error) {
      if (!hasLeft() && !isOpen(window, timers)) onStuck();
      throw error;
    }
  }

  async #change(window: Window, changed: () => Change): Promise<Said> {
    const { writer, timers, isWelcome, connection } = this.#options;
    await writer.turn(1, window);
    if (!isWelcome() || !isOpen(window, timers)) throw notNow("the time to do it is over");
    const { lines, done } = changed();
    writer.now(lines);
    await inside(window, timers, done, () => new UncertainSend("the server has not answered in time"));
    this.#changes += 1;
    return { remoteId: `${connection}.c${this.#changes}`, at: timers.now() };
  }

  #confirming(): Confirmations {
    const { client, names, connection } = this.#options;
    // Servers may take a capability back, or offer one later.
    this.#confirmations ??= new Confirmations({
      labels: () => client.has("labeled-response") && client.has("batch"),
      echoes: () => client.has("echo-message"),
      names,
      connection,
    });
    return this.#confirmations;
  }

  #tagsOf({ replyTo }: Write & { do: "say" }, key: string): string[] {
    const { client, ownSends } = this.#options;
    const tags = client.relaysTag(MARK.slice(1)) ? [`${MARK}=${tagValue(ownSends.markOf(key))}`] : [];
    if (replyTo !== undefined && client.relaysTag("draft/reply"))
      tags.push(`+draft/reply=${tagValue(replyTo)}`);
    return tags;
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  ";": "\\:",
  " ": "\\s",
  "\\": "\\\\",
  "\r": "\\r",
  "\n": "\\n",
};
const MAX_TAG_LENGTH = 500;

function tagValue(value: string): string {
  const bounded = value.replaceAll("\0", "").slice(0, MAX_TAG_LENGTH).toWellFormed();
  return bounded.replace(/[; \\\r\n]/g, (character) => ESCAPES[character] ?? "");
}
