/** Names of people and channels on one connection: compared folded, written as they were seen. */
import { type Line, serverTime } from "../inbound.ts";
import type { Channels } from "./channels.ts";
import type { Memory } from "./memory.ts";
import type { OwnSends } from "./own-sends.ts";
import type { Spellings } from "./spellings.ts";

export interface NamesOptions {
  readonly memory: Memory;
  readonly fold: (name: string) => string;
  readonly isSelf: (nick: string) => boolean;
  readonly channels: () => Channels;
  /** When the connection began; an earlier time is that of a replay. */
  readonly began: Date;
}

export class Names {
  readonly #fold: (name: string) => string;
  readonly #isSelf: (nick: string) => boolean;
  readonly #channels: () => Channels;
  readonly #spellings: Spellings;
  readonly #ownSends: OwnSends;
  readonly #began: Date;

  constructor({ memory, fold, isSelf, channels, began }: NamesOptions) {
    this.#fold = fold;
    this.#isSelf = isSelf;
    this.#channels = channels;
    this.#began = began;
    this.#spellings = memory.spellings;
    this.#ownSends = memory.ownSends;
  }

  /** Remembers how people and channels spell themselves. */
  see({ command, nick, params }: Line): void {
    const [target = ""] = params;
    if (nick !== "") this.#spellings.see(nick, this.#fold(nick));
    const isName = command === "NICK" || (command === "JOIN" && this.#isSelf(nick));
    if (isName) this.#spellings.see(target, this.#fold(target));
  }

  /** What is written for a name. */
  spelled(name: string): string {
    const folded = this.#fold(name);
    return this.#channels().spelled(folded) ?? this.#spellings.of(folded, this.#fold);
  }

  /** Something that we said ourselves, shown again: marked, or replayed and remembered. */
  isOwnSend(line: Line): boolean {
    const { command, params, nick } = line;
    if (command !== "PRIVMSG" && command !== "NOTICE") return false;
    const at = serverTime(line);
    const isReplayed = at !== undefined && at < this.#began;
    // Everybody sees the mark and can write it; under another name only a history can show what we said ourselves.
    if (this.#ownSends.isMarked(line) && (isReplayed || this.#isSelf(nick))) return true;
    if (!isReplayed || !this.#isSelf(nick)) return false;
    return this.#ownSends.takes(this.#fold(params[0] ?? ""), params[1] ?? "");
  }
}
