/**
 * Names of people and channels on one connection: what we are called there, how the server compares names, and how a
 * name is written to it. References hold folded names; folding follows what the server has said of itself so far.
 */
import type { LinkedIdentity } from "@linkspan/daemon-kit";
import { conversationOf, isChannel, type Self, type ServerFacts } from "../conversation.ts";
import type { Line } from "../inbound.ts";
import { fold } from "../wire/casemapping.ts";
import type { Spellings } from "./spellings.ts";

export interface NamesOptions {
  readonly identity: Pick<LinkedIdentity, "workspaceId" | "identityId">;
  readonly network: string;
  /** The nickname that is asked for. */
  readonly nick: string;
  readonly server: { readonly facts: ServerFacts };
  readonly spellings: Spellings;
}

export class Names {
  readonly #options: NamesOptions;
  /** The nickname that the server calls us by. */
  nick: string;
  /** The services account that we are logged in to. */
  account: string | undefined;

  constructor(options: NamesOptions) {
    this.#options = options;
    this.nick = options.nick;
  }

  /** The account as the mappings see it. */
  get self(): Self {
    const { identity, network, server } = this.#options;
    const { workspaceId, identityId } = identity;
    return { workspaceId, identityId, network, nick: this.nick, account: this.account, ...server.facts };
  }

  /** The form in which names are compared. */
  fold(name: string): string {
    return fold(name, this.#options.server.facts.caseMapping);
  }

  same(a: string, b: string): boolean {
    return this.fold(a) === this.fold(b);
  }

  isSelf(nick: string): boolean {
    return this.same(nick, this.nick);
  }

  isChannel(name: string): boolean {
    return isChannel(this.#options.server.facts, name);
  }

  /** The conversation that a target of a line belongs to. */
  conversation(target: string): string {
    const kind = this.isChannel(target) ? "channel" : "query";
    return conversationOf(this.self, { kind, name: this.fold(target) });
  }

  /** Remembers how people and channels spell themselves. */
  see({ command, nick, params }: Line): void {
    const { spellings } = this.#options;
    const [target = ""] = params;
    if (nick !== "") spellings.see(nick, this.fold(nick));
    const isName = command === "NICK" || (command === "JOIN" && this.isSelf(nick));
    if (isName) spellings.see(target, this.fold(target));
  }

  /** The name as it was seen last. Members and channels of ours: ask `Channels`, which knows better. */
  spelled(name: string): string {
    return this.#options.spellings.of(this.fold(name), (other) => this.fold(other));
  }
}
