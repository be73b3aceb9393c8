/** Our channels and their members: the only way to know which channels a QUIT or NICK concerns. */
import type { Line } from "../inbound.ts";
import type { Names } from "./names.ts";

export interface ChannelsOptions {
  readonly names: Names;
  /** Symbols before a nickname in NAMES. */
  readonly memberPrefixes: () => string;
}

interface Channel {
  /** As the server spells it. */
  readonly name: string;
  /** Folded nickname to nickname. */
  readonly members: Map<string, string>;
}

/**
 * More are not followed: a server could otherwise fill the memory of a process that serves others. The largest
 * channels in use have some thousand members, and servers let nobody into a thousand channels.
 */
const MAX_CHANNELS = 1_000;
const MAX_MEMBERS = 100_000;
const MAX_NICK_LENGTH = 200;

export class Channels {
  readonly #options: ChannelsOptions;
  readonly #joined = new Map<string, Channel>();
  /** Of all channels together. */
  #count = 0;

  constructor(options: ChannelsOptions) {
    this.#options = options;
  }

  has(name: string): boolean {
    return this.#joined.has(this.#options.names.fold(name));
  }

  get names(): readonly string[] {
    return [...this.#joined.values()].map(({ name }) => name);
  }

  /** The spelling to write for a name: that of the channel, or of its member, where it is known. */
  spelled(name: string): string {
    const { names } = this.#options;
    const folded = names.fold(name);
    const channel = this.#joined.get(folded);
    if (channel !== undefined) return channel.name;
    for (const { members } of this.#joined.values()) {
      const nick = members.get(folded);
      if (nick !== undefined) return nick;
    }
    return names.spelled(name);
  }

  /** Everybody who shares a channel, each once. */
  get members(): readonly string[] {
    return [...new Map([...this.#joined.values()].flatMap(({ members }) => [...members])).values()];
  }

  /** Folded names of the channels that a nickname is in. */
  of(nick: string): readonly string[] {
    const folded = this.#options.names.fold(nick);
    return [...this.#joined].filter(([, { members }]) => members.has(folded)).map(([name]) => name);
  }

  /** Follows the line; ask {@link of} before. */
  see({ command, params, nick }: Line): void {
    const { names } = this.#options;
    const [first = "", second = ""] = params;
    switch (command) {
      case "JOIN": {
        if (names.isSelf(nick)) this.#enter(first);
        this.#add(this.#joined.get(names.fold(first)), nick);
        break;
      }
      case "PART":
        this.#leave(first, nick);
        break;
      case "KICK":
        this.#leave(first, second);
        break;
      case "QUIT":
        for (const { members } of this.#joined.values()) this.#remove(members, nick);
        break;
      case "NICK":
        for (const channel of this.#joined.values()) {
          if (this.#remove(channel.members, nick)) this.#add(channel, first);
        }
        break;
      case "353":
        this.#names(params[2] ?? "", params[3] ?? "");
        break;
    }
  }

  #leave(channel: string, nick: string): void {
    const { names } = this.#options;
    const known = this.#joined.get(names.fold(channel));
    if (known === undefined) return;
    if (names.isSelf(nick)) this.#forget(known);
    else this.#remove(known.members, nick);
  }

  #enter(name: string): void {
    const key = this.#options.names.fold(name);
    const known = this.#joined.get(key);
    if (known !== undefined) this.#forget(known);
    if (this.#joined.size < MAX_CHANNELS) this.#joined.set(key, { name, members: new Map() });
  }

  #forget({ name, members }: Channel): void {
    this.#count -= members.size;
    this.#joined.delete(this.#options.names.fold(name));
  }

  #add(channel: Channel | undefined, nick: string): void {
    if (channel === undefined || nick.length > MAX_NICK_LENGTH) return;
    const key = this.#options.names.fold(nick);
    if (!channel.members.has(key)) {
      if (this.#count >= MAX_MEMBERS) return;
      this.#count += 1;
    }
    channel.members.set(key, nick);
  }

  /** @returns whether it was there */
  #remove(members: Map<string, string>, nick: string): boolean {
    const wasThere = members.delete(this.#options.names.fold(nick));
    if (wasThere) this.#count -= 1;
    return wasThere;
  }

  #names(channel: string, list: string): void {
    const known = this.#joined.get(this.#options.names.fold(channel));
    const prefixes = this.#options.memberPrefixes();
    for (const entry of list.split(" ")) {
      let from = 0;
      while (prefixes.includes(entry.charAt(from)) && from < entry.length) from += 1;
      const [nick = ""] = entry.slice(from).split("!");
      if (nick !== "") this.#add(known, nick);
    }
  }
}
