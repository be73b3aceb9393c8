/**
 * Conversations of IRC: a channel, which all its members share, or a private query, which only its account
 * can see. The second starts with `~<account>` (contract section 6).
 */
import { channelRef, FabricError, identityRef, parseRef } from "@linkspan/envelopes";
import { type CaseMapping, fold } from "./wire/casemapping.ts";

/** Facts about a server that the mappings need. */
export interface ServerFacts {
  readonly caseMapping: CaseMapping;
  /** ISUPPORT `CHANTYPES`, such as `#&`. */
  readonly channelTypes: string;
  /** ISUPPORT `STATUSMSG`, such as `@+`. */
  readonly statusPrefixes: string;
  /** Name of the server we are connected to, once known. */
  readonly serverName?: string;
}

/** Facts about the account and its server that the mappings need. */
export interface Self extends ServerFacts {
  readonly workspaceId: string;
  readonly identityId: string;
  /** Our name of the network, such as `libera`. */
  readonly network: string;
  /** The nickname it has now. */
  readonly nick: string;
  /** The services account it is logged in to. */
  readonly account?: string | undefined;
}

export interface Place {
  readonly kind: "channel" | "query";
  /** Folded; a valid target of a PRIVMSG. */
  readonly name: string;
}

export const SERVICE = "irc";

export function conversationOf(self: Self, { kind, name }: Place): string {
  const remote = kind === "channel" ? [self.network, name] : [self.network, `~${self.identityId}`, name];
  return channelRef(self.workspaceId, SERVICE, remote);
}

/** @throws FabricError `platform.not_found` for a conversation that is not this account's, or not on its network */
export function placeOf(self: Self, conversation: string): Place {
  const ref = parseRef(conversation);
  const [network, first = "", second] = ref.kind === "channel" ? ref.remote : [];
  if (ref.kind !== "channel" || ref.service !== SERVICE || ref.workspace !== self.workspaceId) {
    throw new FabricError("platform.not_found", "the conversation is not one of this workspace on IRC");
  }
  if (network !== self.network) {
    throw new FabricError("platform.not_found", `the conversation is not on ${self.network}`);
  }
  if (first.startsWith("~")) {
    if (first !== `~${self.identityId}`) {
      throw new FabricError("platform.not_found", "the private conversation is another account's");
    }
    return { kind: "query", name: checkedNick(second ?? "") };
  }
  if (second !== undefined) throw new FabricError("platform.not_found", "the conversation names no channel");
  return { kind: "channel", name: checkedChannel(first) };
}

export function nickRef(self: Self, nick: string): string {
  return identityRef(SERVICE, [self.network, fold(nick, self.caseMapping)]);
}

export function isChannel(self: Pick<Self, "channelTypes">, name: string): boolean {
  return name !== "" && self.channelTypes.includes(name.charAt(0));
}

export function sameName(self: Pick<Self, "caseMapping">, a: string, b: string): boolean {
  return fold(a, self.caseMapping) === fold(b, self.caseMapping);
}

const MAX_NAME_BYTES = 200;
/** Blanks, commas and controls would be read as another parameter or another target. */
const NO_CHANNEL = /[\0-\x20,\x7F]/;
/**
 * Nor may a nickname look like a channel, with or without the prefix of its operators, like a mask of servers, or
 * like an address. `~tilde`, `*status` and `user/network` are people and services to answer.
 */
const NO_NICK = /[\0-\x20,\x7F!@]|^[$:]|^[~&%+.]*[#&+]/;

export function isChannelName(name: string): boolean {
  return /^[#&+!]/.test(name) && !NO_CHANNEL.test(name) && Buffer.byteLength(name) <= MAX_NAME_BYTES;
}

/** @throws FabricError `platform.not_found` */
export function checkedChannel(name: string): string {
  if (!isChannelName(name)) throw new FabricError("platform.not_found", "that is no name of a channel");
  return name;
}

/** @throws FabricError `platform.not_found` */
export function checkedNick(name: string): string {
  if (name === "" || NO_NICK.test(name) || Buffer.byteLength(name) > MAX_NAME_BYTES) {
    throw new FabricError("platform.not_found", "that is no nickname");
  }
  return name;
}
