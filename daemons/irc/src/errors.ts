/**
 * What IRC says when it refuses, as our codes and as sentences for people.
 *
 * Numerics and FAIL codes are branched on. ERROR lines, which end a connection, have nothing but their words; the
 * one table of those words is here, and what it does not know is an ordinary disconnect.
 */
import { type ErrorCode, FabricError } from "@linkspan/envelopes";
import type { BridgeStateName } from "@linkspan/daemon-kit";
import type { Line } from "./inbound.ts";
import { withoutControls } from "./wire/formatting.ts";

/** Why a connection ended or was never made, and what to do about it. */
export interface Ending {
  readonly state: BridgeStateName;
  readonly code: ErrorCode;
  /** A sentence for a person. */
  readonly message: string;
  /** `soon`: with the usual backoff. `late`: the network asked for distance. `never`: a person must act. */
  readonly retry: "soon" | "late" | "never";
  /** The server threw us out for writing too fast. */
  readonly flooded?: boolean;
}

const NOT_FOUND: ReadonlySet<string> = new Set(["401", "402", "403", "406", "411"]);
const TOO_LONG: ReadonlySet<string> = new Set(["414", "416", "417"]);
const UNSUPPORTED: ReadonlySet<string> = new Set(["413", "421", "472", "492", "501"]);
const LATER: ReadonlySet<string> = new Set(["263", "437", "439"]);
const FORBIDDEN: ReadonlySet<string> = new Set(
  (
    "404 405 407 408 409 415 442 447 461 471 473 474 475 476 477 480 481 482 484 486 489 494 495 499 500 502 " +
    "518 519 520 531 716 742"
  ).split(" "),
);
/** Refuses a text rather than a target. */
const NAMELESS: ReadonlySet<string> = new Set(["411", "412", "413", "417", "421"]);

const JOIN_REFUSALS: Readonly<Record<string, string>> = {
  "403": "there is no such channel",
  "405": "it would be more channels than the server allows",
  "437": "it is not available just now",
  "470": "it forwards to another channel",
  "471": "it is full",
  "473": "it is by invitation only",
  "474": "you are banned there",
  "475": "it needs another key",
  "476": "the server does not take its name",
  "477": "it is for registered nicknames only",
  "480": "joining is throttled",
  "489": "it is for TLS connections only",
  "519": "it is for administrators only",
  "520": "it is for operators only",
};

/** What a numeric or FAIL says of a text that was being said; undefined when it says nothing against it. */
export function refusalOf(line: Line, isTarget: (name: string) => boolean): FabricError | undefined {
  const { command, params } = line;
  if (command === "FAIL") {
    const [of = "", code = ""] = params;
    return ["PRIVMSG", "NOTICE", "*"].includes(of) ? failure(code, quoted(params.at(-1) ?? "")) : undefined;
  }
  const code = codeOf(command);
  if (code === undefined) return undefined;
  const about = NAMELESS.has(command)
    ? command !== "421" || params[1] === "PRIVMSG" || params[1] === "NOTICE"
    : params.slice(1, -1).some(isTarget);
  if (!about) return undefined;
  const detail = `${command} ${quoted(params.at(-1) ?? "")}`.trim();
  return code === "platform.rate_limited" ? limited(detail) : new FabricError(code, detail);
}

/** What a numeric says of a channel that was being joined. */
export function joinRefusalOf({
  command,
  params,
}: Line): { channel: string; error: FabricError } | undefined {
  const why = JOIN_REFUSALS[command];
  const channel = params[1];
  if (why === undefined || channel === undefined) return undefined;
  const detail = `${channel} cannot be joined: ${why}`;
  const code = codeOf(command) ?? "platform.forbidden";
  const error = code === "platform.rate_limited" ? limited(detail) : new FabricError(code, detail);
  return { channel, error };
}

function codeOf(numeric: string): ErrorCode | undefined {
  if (NOT_FOUND.has(numeric)) return "platform.not_found";
  if (TOO_LONG.has(numeric)) return "platform.too_long";
  if (UNSUPPORTED.has(numeric) || numeric === "412") return "platform.unsupported";
  if (LATER.has(numeric)) return "platform.rate_limited";
  if (FORBIDDEN.has(numeric)) return "platform.forbidden";
  return undefined;
}

/** Standard replies: `FAIL <command> <code> … :<description>`. */
function failure(code: string, description: string): FabricError {
  if (/RATE|LIMIT|THROTTL/.test(code)) return limited(`${code}: ${description}`);
  const known: Record<string, ErrorCode> = {
    MESSAGE_TOO_LONG: "platform.too_long",
    INVALID_UTF8: "platform.unsupported",
    NO_SUCH_CHANNEL: "platform.not_found",
    NO_SUCH_NICK: "platform.not_found",
    INVALID_TARGET: "platform.not_found",
  };
  return new FabricError(known[code] ?? "platform.forbidden", `${code}: ${description}`);
}

const LIMITED_MS = 30_000;

function limited(detail: string): FabricError {
  const seconds = /\b(\d{1,4}) ?sec/i.exec(detail)?.[1];
  const retryAfterMs = seconds === undefined ? LIMITED_MS : Number(seconds) * 1_000;
  return new FabricError("platform.rate_limited", detail, { retryAfterMs });
}

interface Words {
  readonly pattern: RegExp;
  readonly ending: (reason: string) => Ending;
}

const CLOSINGS: readonly Words[] = [
  {
    pattern: /\b[kgzdq][- ]?lined?\b|banned|you are not welcome|autokill|akill|dnsbl|blacklist/i,
    ending: banned,
  },
  {
    pattern: /excess flood|flooding|sendq exceeded|recvq exceeded|max (?:sendq|recvq)/i,
    ending: (reason) => ({
      state: "transient_disconnect",
      code: "platform.rate_limited",
      message: `The server ended the connection because too much was written at once (${reason}); it goes on more slowly.`,
      retry: "soon",
      flooded: true,
    }),
  },
  {
    pattern:
      /too many (?:connections|user connections|host connections|sessions|unknown)|session limit|no more connections|maximum (?:number of )?connections|connection limit|exceeded/i,
    ending: (reason) => ({
      state: "transient_disconnect",
      code: "platform.rate_limited",
      message: `The network allows no more connections from this address (${reason}); ask its operators to raise the limit.`,
      retry: "late",
    }),
  },
  {
    pattern: /throttl|too fast|too quickly|reconnecting/i,
    ending: (reason) => ({
      state: "transient_disconnect",
      code: "platform.rate_limited",
      message: `The network asks to connect less often (${reason}); it is tried again by itself.`,
      retry: "late",
    }),
  },
  {
    pattern: /bad password|password (?:mismatch|incorrect)|access denied|invalid password/i,
    ending: wrongPassword,
  },
];

/**
 * What the text of an ERROR line means.
 *
 * @param refused what a numeric said right before; it decides, and the ERROR tells why
 */
export function endingOf(text: string, refused?: Ending): Ending {
  const reason = reasonIn(text);
  if (refused?.state === "logged_out") return banned(reason);
  if (refused !== undefined) return refused;
  const words = CLOSINGS.find(({ pattern }) => pattern.test(text));
  return words?.ending(reason) ?? disconnected(`the server closed the connection (${reason})`);
}

/** 465 and its like before registration; undefined for what registration can go on from. */
export function registrationRefusalOf({ command, params }: Line): Ending | undefined {
  const reason = quoted(params.at(-1) ?? "");
  switch (command) {
    case "464":
      return wrongPassword(reason);
    case "465":
    case "466":
    case "463":
      return banned(reason);
    default:
      return undefined;
  }
}

/** The account was refused: SASL failed, or is not offered and nothing else is configured. */
export function loginRefused(why: string): Ending {
  return {
    state: "bad_credentials",
    code: "platform.auth_expired",
    message: `The login was not accepted (${why}); link the account again.`,
    retry: "never",
  };
}

export function nickRefused(nick: string, why: string): Ending {
  return {
    state: "bad_credentials",
    code: "platform.forbidden",
    message: `The server does not take the nickname ${nick} (${why}); choose another one.`,
    retry: "never",
  };
}

export function disconnected(why: string): Ending {
  return {
    state: "transient_disconnect",
    code: "platform.unavailable",
    message: `Not connected: ${why}; it is tried again by itself.`,
    retry: "soon",
  };
}

/** A socket that failed or never opened. Node's codes are all that is looked at. */
export function socketEnding(error: unknown, host: string): Ending {
  const code = String((error as NodeJS.ErrnoException | undefined)?.code ?? "");
  if (code === "REFUSED_ADDRESS") {
    return {
      state: "unknown_error",
      code: "platform.forbidden",
      message: `${host} is an address of a private network, which this daemon does not connect to; its operator can allow it.`,
      retry: "never",
    };
  }
  if (
    /^(?:CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|ERR_TLS_CERT|HOSTNAME_MISMATCH|ERR_TLS_PINNED)/.test(code)
  ) {
    return {
      state: "unknown_error",
      code: "platform.forbidden",
      message: `The certificate of ${host} cannot be trusted (${code}); check the host, or give its authority in the settings.`,
      retry: "late",
    };
  }
  const why: Record<string, string> = {
    ECONNREFUSED: `${host} takes no connections on this port`,
    ENOTFOUND: `there is no host ${host}`,
    EAI_AGAIN: `the name ${host} cannot be looked up just now`,
    ETIMEDOUT: `${host} does not answer`,
    ECONNRESET: `${host} dropped the connection`,
    EHOSTUNREACH: `there is no way to ${host}`,
    ENETUNREACH: `there is no way to ${host}`,
  };
  return disconnected(
    why[code] ?? (code === "" ? `${host} closed the connection` : `${host} failed (${code})`),
  );
}

function banned(reason: string): Ending {
  return {
    state: "logged_out",
    code: "platform.forbidden",
    message: `The network has banned this connection (${reason || "no reason given"}); only its operators can lift that.`,
    retry: "late",
  };
}

function wrongPassword(reason: string): Ending {
  return {
    state: "bad_credentials",
    code: "platform.auth_expired",
    message: `The server's password was not accepted (${reason}); give the right one.`,
    retry: "never",
  };
}

/** What stands in `Closing Link: nick[host] (reason)` and its many spellings; never the address. */
function reasonIn(text: string): string {
  const rest = text.replace(/^closing link:?\s*/i, "");
  const [, inner = rest] = /^\S+\s+[([](.*)[)\]]\s*$/.exec(rest) ?? [];
  return quoted(inner) || "no reason given";
}

const MAX_QUOTED = 200;

/** A server's words, fit to stand in a sentence of ours. */
export function quoted(words: string): string {
  return withoutControls(words).trim().slice(0, MAX_QUOTED);
}
