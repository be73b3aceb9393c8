/** The channels that we are in and who is with us, which is the only way to know what a QUIT or NICK concerns. */
import type { Line } from "../inbound.ts";

export interface ChannelsOptions {
  readonly fold: (name: string) => string;
  readonly isSelf: (nick: string) => boolean;
  /** Symbols before a nickname in NAMES. */
  readonly memberPrefixes: () => string;
}

interface Channel {
  /** As the server spells it. */
  readonly name: string;
  /** Folded nickname to nickname. */
  readonly members: Map<string, string>;
}

export class Channels {
  readonly #options: ChannelsOptions;
  readonly #joined = new Map<string, Channel>();

  constructor(options: ChannelsOptions) {
    this.#options = options;
  }

  has(name: string): boolean {
    return this.#joined.has(this.#options.fold(name));
  }

  get names(): readonly string[] {
    return [...this.#joined.values()].map(({ name }) => name);
  }

  /** How a channel of ours, or somebody in one, is spelled. */
  spelled(folded: string): string | undefined {
    const channel = this.#joined.get(folded);
    if (channel !== undefined) return channel.name;
    for (const { members } of this.#joined.values()) {
      const nick = members.get(folded);
      if (nick !== undefined) return nick;
    }
    return undefined;
  }

  /** Everybody who shares a channel, each once. */
  get members(): readonly string[] {
    return [...new Map([...this.#joined.values()].flatMap(({ members }) => [...members])).values()];
  }

  /** Folded names of the channels that a nickname is in. */
  of(nick: string): readonly string[] {
    const folded = this.#options.fold(nick);
    return [...this.#joined].filter(([, { members }]) => members.has(folded)).map(([name]) => name);
  }

  /** Follows the line; ask {@link of} before. */
  see({ command, params, nick }: Line): void {
    const { fold, isSelf } = this.#options;
    const [first = "", second = ""] = params;
    switch (command) {
      case "JOIN": {
        if (isSelf(nick)) this.#joined.set(fold(first), { name: first, members: new Map() });
        this.#joined.get(fold(first))?.members.set(fold(nick), nick);
        break;
      }
      case "PART":
        this.#leave(first, nick);
        break;
      case "KICK":
        this.#leave(first, second);
        break;
      case "QUIT":
        for (const { members } of this.#joined.values()) members.delete(fold(nick));
        break;
      case "NICK":
        for (const { members } of this.#joined.values()) {
          if (members.delete(fold(nick))) members.set(fold(first), first);
        }
        break;
      case "353":
        this.#names(params[2] ?? "", params[3] ?? "");
        break;
    }
  }

  #leave(channel: string, nick: string): void {
    const { fold, isSelf } = this.#options;
    if (isSelf(nick)) this.#joined.delete(fold(channel));
    else this.#joined.get(fold(channel))?.members.delete(fold(nick));
  }

  #names(channel: string, list: string): void {
    const members = this.#joined.get(this.#options.fold(channel))?.members;
    const prefixes = this.#options.memberPrefixes();
    for (const entry of list.split(" ")) {
      let from = 0;
      while (prefixes.includes(entry.charAt(from)) && from < entry.length) from += 1;
      const [nick = ""] = entry.slice(from).split("!");
      if (nick !== "") members?.set(this.#options.fold(nick), nick);
    }
  }
}
