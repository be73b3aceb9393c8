/**
 * Numerics by which servers refuse: every one of the reference lists that can answer a command which we write
 * (PRIVMSG, NOTICE, TAGMSG, JOIN, PART, NICK, PASS, USER, AUTHENTICATE, CHATHISTORY, MONITOR), and those that look
 * like one and are not. Where lists disagree on a number, the meaning for our command is the one that counts.
 *
 * @see https://modern.ircdocs.horse, https://defs.ircdocs.horse/defs/numerics, and the headers of InspIRCd, UnrealIRCd,
 *   Solanum, ircu, IRCnet and ngIRCd
 */
import type { ErrorCode } from "@linkspan/envelopes";

/** The scope of a refusal: this message, being in this channel, a nickname, this identity for a while, or the connection. */
export type Scope = "message" | "channel" | "nickname" | "identity" | "connection";
/** Commands of ours that a numeric can answer; `other`: one that we never write. */
export type Answered = "say" | "join" | "part" | "nick" | "register" | "monitor" | "other";

export interface Numeric {
  readonly answers: readonly Answered[];
  readonly scope: Scope;
  readonly code: ErrorCode;
  /** Goes on from "it is refused:". */
  readonly sentence: string;
  /** For a JOIN, where that is another matter. */
  readonly join?: { readonly code?: ErrorCode; readonly sentence: string };
}

const NOT_FOUND = "platform.not_found";
const FORBIDDEN = "platform.forbidden";
const LIMITED = "platform.rate_limited";
const UNAVAILABLE = "platform.unavailable";
const UNSUPPORTED = "platform.unsupported";
const TOO_LONG = "platform.too_long";
const AUTH = "platform.auth_expired";

type Row = readonly [string, string, Scope, ErrorCode, string, join?: string, joinCode?: ErrorCode];

/** `answers` by first letter, `o` for other. */
const ROWS: readonly Row[] = [
  ["263", "sjnm", "identity", LIMITED, "the server is busy and asks to wait", "the server is busy"],
  ["384", "j", "channel", FORBIDDEN, "the channel is forbidden", "the network forbids this channel"],
  ["400", "sjpn", "message", UNAVAILABLE, "the server could not do it"],
  ["401", "sm", "message", NOT_FOUND, "there is no such nickname or channel"],
  ["402", "s", "message", NOT_FOUND, "there is no such server"],
  ["403", "sjp", "channel", NOT_FOUND, "there is no such channel", "there is no such channel"],
  ["404", "s", "message", FORBIDDEN, "the channel does not let this account send"],
  [
    "405",
    "sj",
    "channel",
    FORBIDDEN,
    "it would be more channels than the server allows",
    "it would be more channels than the server allows",
  ],
  ["406", "s", "message", NOT_FOUND, "there was no such nickname"],
  ["407", "sj", "message", FORBIDDEN, "the target is more than one", "the name fits more than one channel"],
  ["408", "s", "message", FORBIDDEN, "the channel takes no colours, or there is no such service"],
  ["409", "s", "message", FORBIDDEN, "the server misses an origin"],
  ["410", "r", "connection", UNSUPPORTED, "the server does not know this CAP command"],
  ["411", "s", "message", NOT_FOUND, "no recipient was given"],
  ["412", "s", "message", UNSUPPORTED, "there was no text"],
  ["413", "s", "message", UNSUPPORTED, "the target is no domain"],
  ["414", "s", "message", TOO_LONG, "the target covers too much"],
  ["415", "s", "message", FORBIDDEN, "the target is no valid mask"],
  ["416", "s", "message", TOO_LONG, "there are too many matches, or the line is too long"],
  ["417", "s", "message", TOO_LONG, "the line is too long"],
  ["419", "s", "message", TOO_LONG, "the line was cut"],
  ["420", "o", "message", UNSUPPORTED, "the command is ambiguous"],
  ["421", "sjpnm", "message", UNSUPPORTED, "the server does not know the command"],
  ["422", "r", "connection", UNSUPPORTED, "there is no message of the day"],
  ["423", "o", "message", UNSUPPORTED, "there is no information on its administrators"],
  ["424", "o", "message", UNAVAILABLE, "a file of the server failed"],
  ["425", "o", "message", UNSUPPORTED, "there is no message for operators"],
  ["429", "o", "message", LIMITED, "away was set too often"],
  ["430", "n", "nickname", FORBIDDEN, "an event in a channel keeps the nickname as it is"],
  ["431", "n", "nickname", FORBIDDEN, "no nickname was given"],
  ["432", "n", "nickname", FORBIDDEN, "the server does not take this nickname"],
  ["433", "n", "nickname", UNAVAILABLE, "the nickname is in use"],
  ["434", "n", "nickname", UNAVAILABLE, "the name of a service is in use"],
  [
    "435",
    "nj",
    "nickname",
    FORBIDDEN,
    "a channel that bans us keeps the nickname as it is",
    "the nickname is banned there",
  ],
  ["436", "n", "nickname", UNAVAILABLE, "the nickname was used twice"],
  [
    "437",
    "sjn",
    "channel",
    LIMITED,
    "the nickname or channel is not available just now",
    "it is not available just now",
  ],
  ["438", "n", "nickname", LIMITED, "nicknames were changed too fast"],
  ["439", "sj", "identity", LIMITED, "targets were changed too fast", "it was too fast"],
  ["440", "s", "message", UNAVAILABLE, "the network's services are not there"],
  ["441", "o", "message", NOT_FOUND, "they are not in that channel"],
  ["442", "sp", "message", FORBIDDEN, "this account is not in that channel"],
  ["443", "j", "channel", FORBIDDEN, "it is there already", "the server says that we are there already"],
  ["444", "o", "message", NOT_FOUND, "there is no such login"],
  ["445", "o", "message", UNSUPPORTED, "SUMMON is not served"],
  ["446", "o", "message", UNSUPPORTED, "USERS is not served"],
  ["447", "ns", "nickname", FORBIDDEN, "a channel keeps the nickname as it is"],
  ["448", "j", "channel", FORBIDDEN, "the channel is forbidden", "the network forbids this channel"],
  ["449", "sjpn", "message", UNSUPPORTED, "the server does not serve it"],
  ["451", "r", "connection", UNAVAILABLE, "the registration is not over"],
  ["452", "n", "nickname", UNAVAILABLE, "the id collides with another"],
  ["453", "n", "nickname", UNAVAILABLE, "the nickname is lost"],
  ["455", "r", "connection", FORBIDDEN, "the user name holds characters that the server does not take"],
  ["456", "o", "message", FORBIDDEN, "the accept list is full"],
  ["457", "o", "message", FORBIDDEN, "it is on the accept list"],
  ["458", "o", "message", NOT_FOUND, "it is not on the accept list"],
  ["459", "o", "message", FORBIDDEN, "hiding is not allowed"],
  ["460", "o", "message", FORBIDDEN, "it is not for half-operators"],
  ["461", "sjpnm", "message", FORBIDDEN, "a parameter is missing"],
  ["462", "r", "connection", FORBIDDEN, "it is registered already"],
  ["463", "r", "connection", FORBIDDEN, "the server does not take this host"],
  ["464", "r", "connection", AUTH, "the server's password is wrong"],
  ["465", "r", "connection", FORBIDDEN, "this connection is banned"],
  ["466", "r", "connection", FORBIDDEN, "this connection will be banned"],
  ["467", "o", "channel", FORBIDDEN, "the channel has a key already"],
  ["468", "r", "connection", FORBIDDEN, "the server does not take the user name"],
  ["469", "o", "channel", FORBIDDEN, "the channel is linked already"],
  [
    "470",
    "j",
    "channel",
    FORBIDDEN,
    "the channel forwards to another one",
    "it forwards to another channel, or we were thrown out of it",
  ],
  ["471", "j", "channel", FORBIDDEN, "the channel is full", "it is full"],
  ["472", "so", "message", UNSUPPORTED, "the server does not know the mode"],
  ["473", "j", "channel", FORBIDDEN, "the channel is by invitation only", "it is by invitation only"],
  ["474", "js", "channel", FORBIDDEN, "this account is banned there", "you are banned there"],
  ["475", "j", "channel", FORBIDDEN, "the channel needs another key", "it needs another key"],
  ["476", "js", "channel", FORBIDDEN, "the name is refused", "the server does not take its name"],
  [
    "477",
    "js",
    "channel",
    FORBIDDEN,
    "only registered nicknames may send there",
    "it is for registered nicknames only",
  ],
  ["478", "o", "channel", FORBIDDEN, "a list of the channel is full"],
  [
    "479",
    "js",
    "channel",
    FORBIDDEN,
    "the name is refused, or colours are not allowed",
    "the server does not take its name, or its link fails",
  ],
  ["480", "js", "channel", FORBIDDEN, "it is throttled", "joining is throttled"],
  ["481", "sj", "message", FORBIDDEN, "it is for operators only", "it is for operators only"],
  ["482", "sp", "message", FORBIDDEN, "only operators of the channel may do that"],
  ["483", "o", "message", FORBIDDEN, "a server cannot be killed"],
  [
    "484",
    "sjn",
    "message",
    FORBIDDEN,
    "this connection is restricted, or the target is protected",
    "this connection is restricted",
  ],
  [
    "485",
    "js",
    "channel",
    FORBIDDEN,
    "the channel is banned, or it needs more rights",
    "the network forbids this channel",
  ],
  [
    "486",
    "sj",
    "message",
    FORBIDDEN,
    "they take messages of registered nicknames only",
    "it is for accounts only",
  ],
  [
    "487",
    "sj",
    "message",
    FORBIDDEN,
    "they take messages over TLS only, or services are addressed otherwise",
    "it is too new",
  ],
  ["488", "sj", "channel", FORBIDDEN, "it is for TLS connections only", "it is for TLS connections only"],
  [
    "489",
    "js",
    "channel",
    FORBIDDEN,
    "only members with voice (mode +v) may send there",
    "it is for TLS connections only",
  ],
  [
    "490",
    "js",
    "channel",
    FORBIDDEN,
    "they take no swearing, or it is for TLS connections only",
    "it is for TLS connections only",
  ],
  ["491", "o", "message", FORBIDDEN, "this host has no operators"],
  ["492", "s", "message", UNSUPPORTED, "CTCP is not allowed there, or they take no messages"],
  ["493", "s", "message", FORBIDDEN, "they take messages only from who shares a channel with them"],
  ["494", "s", "message", FORBIDDEN, "they could not answer, so it was not sent"],
  ["495", "js", "channel", FORBIDDEN, "it is too soon after a kick", "it is too soon after a kick", LIMITED],
  ["496", "o", "message", FORBIDDEN, "the log is unknown"],
  ["497", "o", "message", FORBIDDEN, "the log's value is refused"],
  ["498", "sj", "channel", FORBIDDEN, "it is a channel of operators", "it is a channel of operators"],
  ["499", "sp", "message", FORBIDDEN, "only owners of the channel may do that"],
  [
    "500",
    "js",
    "identity",
    FORBIDDEN,
    "it was too much at once",
    "too many channels were joined at once",
    LIMITED,
  ],
  ["501", "so", "message", UNSUPPORTED, "the server does not know the mode"],
  ["502", "s", "message", FORBIDDEN, "it is for the user alone"],
  ["503", "s", "message", UNAVAILABLE, "it could not be delivered"],
  ["504", "s", "message", NOT_FOUND, "they are not on this server"],
  ["511", "o", "message", FORBIDDEN, "the list of silenced users is full"],
  ["512", "m", "message", FORBIDDEN, "the list of watched nicknames is full"],
  ["513", "r", "connection", UNAVAILABLE, "the server waits for another PONG"],
  ["514", "o", "message", FORBIDDEN, "there are too many transfers"],
  ["515", "o", "message", FORBIDDEN, "the time is refused"],
  ["516", "o", "message", FORBIDDEN, "it is refused"],
  ["517", "sjpn", "message", UNSUPPORTED, "the command is switched off", "joining is switched off"],
  ["518", "s", "message", FORBIDDEN, "invitations are not allowed there"],
  [
    "519",
    "js",
    "channel",
    FORBIDDEN,
    "it is for administrators only, or would reach too many",
    "it is for administrators only",
  ],
  ["520", "js", "channel", FORBIDDEN, "it is for operators only", "it is for operators only"],
  ["521", "o", "message", FORBIDDEN, "the list is written wrong"],
  ["522", "o", "message", FORBIDDEN, "WHO is written wrong"],
  ["523", "o", "message", FORBIDDEN, "it finds too much"],
  ["524", "js", "channel", FORBIDDEN, "the channel is quarantined", "the channel is quarantined"],
  ["525", "j", "channel", FORBIDDEN, "the key is refused", "the server does not take the key"],
  ["531", "s", "message", FORBIDDEN, "they take no messages from this account"],
  ["562", "js", "channel", FORBIDDEN, "the channel is secured", "the channel is secured"],
  ["691", "r", "connection", UNAVAILABLE, "TLS could not be started"],
  ["696", "o", "message", FORBIDDEN, "a mode's parameter is refused"],
  ["697", "o", "message", FORBIDDEN, "it is on the list already"],
  ["698", "o", "message", FORBIDDEN, "it is not on the list"],
  ["707", "s", "identity", LIMITED, "targets were changed too fast, so it was dropped"],
  ["712", "o", "channel", LIMITED, "too many knocks"],
  ["713", "o", "channel", FORBIDDEN, "the channel is open"],
  ["714", "o", "channel", FORBIDDEN, "it is in the channel already"],
  ["715", "o", "channel", FORBIDDEN, "knocking or inviting is not allowed now"],
  ["716", "s", "message", FORBIDDEN, "they take messages only from who is on their list"],
  ["723", "o", "message", FORBIDDEN, "it needs more privileges"],
  ["734", "m", "message", FORBIDDEN, "the list of watched nicknames is full"],
  ["742", "s", "message", FORBIDDEN, "a mode of the channel is locked"],
  ["743", "o", "channel", FORBIDDEN, "the ban is refused"],
  ["744", "o", "channel", FORBIDDEN, "the topic is locked"],
  ["902", "r", "connection", AUTH, "the account is locked, or needs another nickname"],
  ["904", "r", "connection", AUTH, "wrong account or password"],
  ["905", "r", "connection", AUTH, "the password is too long"],
  ["906", "r", "connection", UNAVAILABLE, "the login was broken off"],
  ["907", "r", "connection", UNAVAILABLE, "it is logged in already"],
  ["908", "r", "connection", UNAVAILABLE, "the server does not offer this SASL mechanism just now"],
  ["926", "j", "channel", FORBIDDEN, "the channel is forbidden", "the network forbids this channel"],
  ["936", "s", "message", FORBIDDEN, "it holds a word that is filtered"],
  ["937", "o", "channel", FORBIDDEN, "the word is filtered already"],
  ["938", "o", "channel", NOT_FOUND, "the word is not filtered"],
  ["939", "o", "channel", FORBIDDEN, "the filter is full"],
  ["942", "m", "message", FORBIDDEN, "the watched nickname is refused"],
  ["952", "o", "message", FORBIDDEN, "it is not silenced"],
  ["972", "sjpn", "message", FORBIDDEN, "the server does not do that", "the server does not do that"],
  ["974", "o", "channel", FORBIDDEN, "the mode cannot be changed"],
];

const ANSWERS: Readonly<Record<string, Answered>> = {
  s: "say",
  j: "join",
  p: "part",
  n: "nick",
  r: "register",
  m: "monitor",
  o: "other",
};

const TABLE: ReadonlyMap<string, Numeric> = new Map(
  ROWS.map(([numeric, letters, scope, code, sentence, join, joinCode]) => [
    numeric,
    {
      answers: [...letters].flatMap((letter) => ANSWERS[letter] ?? []),
      scope,
      code,
      sentence,
      ...(join !== undefined && {
        join: { sentence: join, ...(joinCode !== undefined && { code: joinCode }) },
      }),
    },
  ]),
);

/** 597 to 599 tell of somebody's absence. */
const ERROR = /^(?:4\d\d|5[0-8]\d|59[0-6])$/;

/** A numeric of a list may refuse anything; one that no list has refuses whatever it comes after. */
const UNKNOWN: Numeric = {
  answers: ["say", "join", "part"],
  scope: "message",
  code: FORBIDDEN,
  sentence: "the server refuses it",
  join: { sentence: "the server refuses it" },
};

/** The refusal that a numeric means; undefined for one that is no error. */
export function numericOf(numeric: string): Numeric | undefined {
  return TABLE.get(numeric) ?? (ERROR.test(numeric) ? UNKNOWN : undefined);
}

export function isKnownNumeric(numeric: string): boolean {
  return TABLE.has(numeric);
}
