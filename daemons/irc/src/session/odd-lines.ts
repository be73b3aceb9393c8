/** Lines that some servers write otherwise than others, or wrong: split into what they say, or known to say nothing. */
import type { Line } from "../inbound.ts";

/** How many parameters a line must have, and which must not be empty, counted from 0. */
const LEAST: Readonly<Record<string, { readonly params: number; readonly filled?: number }>> = {
  "001": { params: 1, filled: 0 },
  "332": { params: 3, filled: 1 },
  "353": { params: 4, filled: 2 },
  "900": { params: 3, filled: 2 },
  BATCH: { params: 1, filled: 0 },
  FAIL: { params: 2, filled: 0 },
  JOIN: { params: 1, filled: 0 },
  KICK: { params: 2, filled: 1 },
  NICK: { params: 1, filled: 0 },
  NOTICE: { params: 2, filled: 0 },
  PART: { params: 1, filled: 0 },
  PRIVMSG: { params: 2, filled: 0 },
  REDACT: { params: 2, filled: 0 },
  TAGMSG: { params: 1, filled: 0 },
  TOPIC: { params: 1, filled: 0 },
};
/** Where a name stands that is remembered, counted from 0. */
const NAMED: Readonly<Record<string, number>> = {
  "001": 0,
  "332": 1,
  "353": 2,
  JOIN: 0,
  KICK: 0,
  MODE: 0,
  NICK: 0,
  PART: 0,
  TOPIC: 0,
};
/** The longest name of a channel in use has 200 bytes; nicknames are shorter. Some lines name several channels. */
const MAX_NAME_LENGTH = 200;
/** Only a person does these; what has no sender cannot be told of anybody. */
const BY_SOMEBODY: ReadonlySet<string> = new Set(["JOIN", "PART", "NICK", "QUIT", "PRIVMSG", "TAGMSG"]);
const MANY: ReadonlySet<string> = new Set(["JOIN", "PART"]);

/** Why a line cannot be served; undefined when it can. */
export function oddityOf({ command, params, prefix, nick }: Line): string | undefined {
  const least = LEAST[command];
  if (least !== undefined && params.length < least.params) return "a parameter is missing";
  if (least?.filled !== undefined && params[least.filled] === "") return "a parameter is empty";
  if (BY_SOMEBODY.has(command) && prefix === "") return "it has no sender";
  const named = params[NAMED[command] ?? -1] ?? "";
  const names = MANY.has(command) ? named.split(",") : [named];
  if ([nick, ...names].some((name) => name.length > MAX_NAME_LENGTH)) return "a name is too long";
  return undefined;
}

/** One line per channel, as one line may name several. */
export function linesOf(line: Line): readonly Line[] {
  const [channels = "", ...rest] = line.params;
  if (!MANY.has(line.command) || !channels.includes(",")) return [line];
  return channels
    .split(",")
    .filter((channel) => channel !== "")
    .map((channel) => ({ ...line, params: [channel, ...rest] }));
}
