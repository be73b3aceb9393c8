/**
 * Lines of the server as events. Pure: our own names, the position of the line in its connection and the time when
 * it came are arguments.
 */
import { type Entity, type EventKind, type InboundEvent, timestamp } from "@linkspan/envelopes";
import type { PlatformEvent } from "@linkspan/daemon-kit";
import { conversationOf, isChannel, nickRef, type Place, sameName, type Self } from "./conversation.ts";
import { fold } from "./wire/casemapping.ts";
import { readFormatting } from "./wire/formatting.ts";

/** One line of the server, parsed. `params` ends with the trailing one. */
export interface Line {
  readonly tags: Readonly<Record<string, string>>;
  readonly prefix: string;
  /** Empty where the sender is a server. */
  readonly nick: string;
  readonly user: string;
  readonly host: string;
  /** Upper case; numerics have three digits. */
  readonly command: string;
  readonly params: readonly string[];
}

/** Where a line stands: what gives it an id where the server gives none. */
export interface Seen {
  /** Random; one per connection. */
  readonly connection: string;
  /** Counts the connection's lines from 1. */
  readonly line: number;
  readonly receivedAt: Date;
}

/**
 * @param channels channels of ours that the line's nick is in, folded; what QUIT and NICK do not say themselves
 * @returns one event per conversation that the line concerns; none for what is no event
 */
export function toEvents(
  line: Line,
  self: Self,
  seen: Seen,
  channels: readonly string[] = [],
): readonly PlatformEvent[] {
  const [target = "", second = "", third = ""] = line.params;
  const at = (name: string): Place => ({ kind: "channel", name: fold(name, self.caseMapping) });
  switch (line.command) {
    case "PRIVMSG":
    case "NOTICE":
      return message(line, self, seen);
    case "TAGMSG":
      return tagged(line, self, seen);
    case "REDACT": {
      const place = placeOfTarget(line, self, target);
      return second === ""
        ? []
        : [event("delete", line, self, seen, place, { target: second, native: reason(third) })];
    }
    case "JOIN":
      return [change("join", line, self, seen, at(target), account(line, second))];
    case "PART":
      return [change("leave", line, self, seen, at(target), reason(second))];
    case "KICK":
      return [
        event("membership", line, self, seen, at(target), {
          text: "kick",
          ...(second !== "" && { target: nickRef(self, second) }),
          native: { nick: second, ...reason(third) },
        }),
      ];
    case "QUIT":
      return channels.map((name) => change("quit", line, self, seen, at(name), reason(target), name));
    case "NICK":
      return channels.map((name) =>
        event("membership", line, self, seen, at(name), {
          text: "nick",
          ...(target !== "" && { target: nickRef(self, target) }),
          native: { nick: target },
          among: name,
        }),
      );
    case "TOPIC": {
      const { text, entities } = readFormatting(second);
      return [event("channel", line, self, seen, at(target), { text, entities })];
    }
    default:
      return [];
  }
}

/** The event of a netsplit or netjoin in one channel, whatever the number of users. */
export function splitEvent(
  change: "netsplit" | "netjoin",
  channel: string,
  nicks: readonly string[],
  servers: readonly [string, string],
  self: Self,
  seen: Seen,
): PlatformEvent {
  const line: Line = {
    tags: {},
    prefix: servers[0],
    nick: "",
    user: "",
    host: servers[0],
    command: change,
    params: [],
  };
  return event(
    "membership",
    line,
    self,
    seen,
    { kind: "channel", name: channel },
    {
      text: change,
      among: channel,
      native: { servers: [...servers], count: nicks.length, nicks: nicks.slice(0, MAX_NICKS) },
    },
  );
}

/** The moment that the server gave a line, if it gave one that can be believed. */
export function serverTime(line: Line): Date | undefined {
  const at = new Date(line.tags["time"] ?? Number.NaN);
  const year = at.getUTCFullYear();
  return year >= 1970 && year <= 9999 ? at : undefined;
}

export function remoteIdOf(line: Line, seen: Seen): string {
  return line.tags["msgid"] || `${seen.connection}.${seen.line}`;
}

const MAX_NICKS = 100;

interface Told {
  readonly text?: string;
  readonly entities?: readonly Entity[];
  readonly target?: string;
  readonly native?: Readonly<Record<string, unknown>>;
  /** The channel, where one line tells something of several: its id alone would not tell them apart. */
  readonly among?: string | undefined;
}

function message(line: Line, self: Self, seen: Seen): PlatformEvent[] {
  const [target = "", raw = ""] = line.params;
  if (line.nick === "") return [];
  const action = actionOf(raw);
  if (action === undefined && raw.startsWith("\x01")) return [];
  const { text, entities } = readFormatting(action ?? raw);
  const native = action === undefined ? {} : { ctcp: "ACTION" };
  return [event("message", line, self, seen, placeOfTarget(line, self, target), { text, entities, native })];
}

/** The text of a CTCP ACTION; undefined for anything else. */
function actionOf(raw: string): string | undefined {
  return /^\x01ACTION(?: |\x01?$)/.test(raw) ? raw.slice(8).replace(/\x01$/, "") : undefined;
}

function tagged(line: Line, self: Self, seen: Seen): PlatformEvent[] {
  if (line.nick === "") return [];
  const place = placeOfTarget(line, self, line.params[0] ?? "");
  const typing = line.tags["+typing"] ?? line.tags["+draft/typing"];
  if (typing !== undefined) return [event("typing", line, self, seen, place, { text: typing })];
  const target = replyTo(line);
  const key = line.tags["+draft/react"];
  if (key === undefined || key === "" || target === undefined) return [];
  return [event("reaction", line, self, seen, place, { text: key, target })];
}

function placeOfTarget(line: Line, self: Self, target: string): Place {
  let from = 0;
  while (from < target.length - 1 && self.statusPrefixes.includes(target.charAt(from))) from += 1;
  const name = target.slice(from);
  const channel = isChannel(self, target) ? target : isChannel(self, name) ? name : undefined;
  if (channel !== undefined) return { kind: "channel", name: fold(channel, self.caseMapping) };
  const peer = sameName(self, line.nick, self.nick) ? target : line.nick;
  return { kind: "query", name: fold(peer, self.caseMapping) };
}

function change(
  text: string,
  line: Line,
  self: Self,
  seen: Seen,
  place: Place,
  native: Readonly<Record<string, unknown>>,
  among?: string,
): PlatformEvent {
  return event("membership", line, self, seen, place, { text, native, among });
}

function event(kind: EventKind, line: Line, self: Self, seen: Seen, place: Place, told: Told): PlatformEvent {
  const occurredAt = serverTime(line) ?? seen.receivedAt;
  const { text, entities = [], target, native, among } = told;
  const replied = kind === "message" ? replyTo(line) : undefined;
  const payload: InboundEvent = {
    kind,
    remote_id: among === undefined ? remoteIdOf(line, seen) : `${remoteIdOf(line, seen)}:${among}`,
    revision: "0",
    account: self.identityId,
    sender: {
      ref: nickRef(self, line.nick || line.host || line.prefix || self.network),
      name: line.nick || line.host || line.prefix,
      is_self: isOwn(line, self),
    },
    sent_at: timestamp(occurredAt),
    ...(text !== undefined && { text }),
    ...(entities.length > 0 && { entities: [...entities] }),
    ...(replied !== undefined && { reply_to: replied }),
    ...(target !== undefined && { target }),
    cursor: cursorOf(line, seen),
    native: nativeOf(line, self, native),
  };
  return { conversation: conversationOf(self, place), occurredAt, payload };
}

/** Ours by nickname, or by the account that the server vouches for: another client of the same person. */
function isOwn(line: Line, self: Self): boolean {
  if (sameName(self, line.nick, self.nick)) return true;
  const account = line.tags["account"];
  return self.account !== undefined && account !== undefined && sameName(self, account, self.account);
}

function replyTo(line: Line): string | undefined {
  return line.tags["+draft/reply"] || line.tags["+reply"] || undefined;
}

function cursorOf(line: Line, seen: Seen): Record<string, unknown> {
  const { msgid, time } = line.tags;
  return {
    connection: seen.connection,
    line: seen.line,
    at: timestamp(seen.receivedAt),
    ...(msgid !== undefined && { msgid }),
    ...(time !== undefined && serverTime(line) !== undefined && { server_time: time }),
  };
}

function nativeOf(
  line: Line,
  self: Self,
  more: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  const { account } = line.tags;
  return {
    network: self.network,
    command: line.command,
    ...(line.params[0] !== undefined && TARGETED.has(line.command) && { target: line.params[0] }),
    ...(line.prefix !== "" && { hostmask: line.prefix }),
    ...(account !== undefined && { account }),
    ...more,
  };
}

const TARGETED: ReadonlySet<string> = new Set([
  "PRIVMSG",
  "NOTICE",
  "TAGMSG",
  "JOIN",
  "PART",
  "KICK",
  "TOPIC",
]);

function reason(text: string): Record<string, unknown> {
  return text === "" ? {} : { reason: text };
}

/** extended-join names the account, or `*` for none. */
function account(line: Line, name: string): Record<string, unknown> {
  return line.params.length < 2 || name === "*" ? {} : { account: name };
}
