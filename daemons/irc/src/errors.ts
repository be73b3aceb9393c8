/**
 * What IRC says when it refuses, as our codes and as sentences for people.
 *
 * Numerics (`numerics.ts`) and FAIL codes are branched on. ERROR lines, which end a connection, have nothing but their words; the
 * one table of those words is here, and what it does not know is an ordinary disconnect.
 */
import { type ErrorCode, FabricError } from "@linkspan/envelopes";
import type { BridgeStateName } from "@linkspan/daemon-kit";
import { isChannelName } from "./conversation.ts";
import type { Line } from "./inbound.ts";
import { isKnownNumeric, type Numeric, numericOf, type Scope } from "./numerics.ts";
import { withoutControls } from "./wire/formatting.ts";

/** Why a connection ended or was never made, and what to do about it. */
export interface Ending {
  readonly state: BridgeStateName;
  readonly code: ErrorCode;
  /** A sentence for a person. */
  readonly message: string;
  /** `soon`: with the usual backoff. `late`: the network asked for distance. `never`: a person must act. */
  readonly retry: "soon" | "late" | "never";
  /** Why the account could not log in, where that is the reason. */
  readonly login?: string;
  /** The server threw us out for writing too fast. */
  readonly flooded?: boolean;
}

/** A refusal that a server answered, and how far it goes. */
export class Refusal extends FabricError {
  readonly scope: Scope;

  constructor(scope: Scope, code: ErrorCode, detail: string) {
    super(code, detail, code === "platform.rate_limited" ? { retryAfterMs: waitIn(detail) } : {});
    this.scope = scope;
  }
}

const TEXTS: ReadonlySet<string> = new Set(["PRIVMSG", "NOTICE", "TAGMSG"]);
/** Numerics whose first parameter is the command that is refused. */
const NAMES_COMMAND: ReadonlySet<string> = new Set(["400", "421", "449", "461", "517", "972"]);

/**
 * What a numeric or FAIL says of a text that was being said; undefined when it says nothing against it.
 *
 * @param isLabelled the line carries the text's label: whatever it refuses is the text
 */
export function refusalOf(
  line: Line,
  isTarget: (name: string) => boolean,
  isLabelled = false,
): Refusal | undefined {
  const { command, params } = line;
  const words = quoted(params.at(-1) ?? "");
  if (command === "FAIL") {
    const [of = "", code = ""] = params;
    return isLabelled || TEXTS.has(of) || of === "*" ? failure(code, words, "message") : undefined;
  }
  const numeric = numericOf(command);
  if (numeric === undefined || !(isLabelled || isAboutText(line, numeric, isTarget))) return undefined;
  const { scope, code, sentence } = numeric;
  return new Refusal(scope, code, `${sentence} (${command} ${words})`);
}

function isAboutText(
  { command, params }: Line,
  { answers }: Numeric,
  isTarget: (name: string) => boolean,
): boolean {
  if (!answers.includes("say")) return false;
  if (NAMES_COMMAND.has(command)) return TEXTS.has(params[1] ?? "");
  if (params.length > 2) return params.slice(1).some(isTarget);
  return !answers.includes("nick");
}

/** A channel that is not joined, and why. Without a channel it is about every JOIN that waits for an answer. */
export interface JoinRefusal {
  readonly channel: string | undefined;
  readonly error: Refusal;
}

/**
 * What a numeric or FAIL says of a channel that was being joined.
 *
 * @param isJoining whether a JOIN of this name waits for an answer
 */
export function joinRefusalOf(
  line: Line,
  isJoining: (name: string) => boolean = isChannelName,
): JoinRefusal | undefined {
  const { command, params } = line;
  const channel = params.slice(command === "FAIL" ? 2 : 1).find(isJoining);
  const words = quoted(params.at(-1) ?? "");
  const what = channel ?? "The channel";
  if (command === "FAIL") {
    if (params[0] !== "JOIN") return undefined;
    return { channel, error: failure(params[1] ?? "", `${what} cannot be joined: ${words}`, "channel") };
  }
  const numeric = numericOf(command);
  if (numeric === undefined || !numeric.answers.includes("join")) return undefined;
  const isAboutJoin = NAMES_COMMAND.has(command) ? params[1] === "JOIN" : channel !== undefined;
  if (!isAboutJoin) return undefined;
  const forward = forwardOf(line);
  const { sentence, code = numeric.code } = numeric.join ?? numeric;
  const why =
    forward === undefined
      ? `${sentence}${isKnownNumeric(command) ? "" : ` (${command} ${words})`}`
      : `it forwards to ${forward.to}`;
  const scope = numeric.scope === "identity" ? "identity" : "channel";
  return { channel, error: new Refusal(scope, code, `${what} cannot be joined: ${why}`) };
}

/** 470: a channel that sends those who join it to another one. */
export function forwardOf({
  command,
  params,
}: Line): { readonly from: string; readonly to: string } | undefined {
  const [, from = "", to = ""] = params;
  return command === "470" && isChannelName(from) && isChannelName(to) ? { from, to } : undefined;
}

/** Standard replies: `FAIL <command> <code> … :<description>`. */
function failure(code: string, description: string, scope: Scope): Refusal {
  const known: Record<string, ErrorCode> = {
    MESSAGE_TOO_LONG: "platform.too_long",
    MULTILINE_MAX_BYTES: "platform.too_long",
    MULTILINE_MAX_LINES: "platform.too_long",
    INVALID_UTF8: "platform.unsupported",
    UNKNOWN_COMMAND: "platform.unsupported",
    NO_SUCH_CHANNEL: "platform.not_found",
    NO_SUCH_NICK: "platform.not_found",
    INVALID_TARGET: "platform.not_found",
    SERVICES_UNAVAILABLE: "platform.unavailable",
    TEMPORARILY_UNAVAILABLE: "platform.unavailable",
  };
  const isLimit = /RATE|LIMIT|THROTTL/.test(code);
  const named = code === "" ? description : `${code}: ${description}`;
  return new Refusal(scope, isLimit ? "platform.rate_limited" : (known[code] ?? "platform.forbidden"), named);
}

const LIMITED_MS = 30_000;

function waitIn(detail: string): number {
  const seconds = /\b(\d{1,4}) ?sec/i.exec(detail)?.[1];
  return seconds === undefined ? LIMITED_MS : Number(seconds) * 1_000;
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
    case "455":
    case "468":
      return {
        state: "bad_credentials",
        code: "platform.forbidden",
        message: `The server does not take the user name (${reason}); choose another one in the settings.`,
        retry: "never",
      };
    case "FAIL":
      return (params[1] ?? "").startsWith("ACCOUNT_REQUIRED")
        ? loginRefused(`the network wants an account: ${reason}`)
        : undefined;
    default:
      return undefined;
  }
}

/** The credentials are wrong, or can never be used: a person must act. */
export function loginRefused(why: string): Ending {
  return {
    state: "bad_credentials",
    code: "platform.auth_expired",
    message: `The login was not accepted (${why}); link the account again.`,
    retry: "never",
  };
}

/** The login could not be tried, or was refused after it has worked before: nothing proves it wrong. */
export function loginUnavailable(why: string): Ending {
  return {
    state: "transient_disconnect",
    code: "platform.unavailable",
    message: `Not connected, because the network's login does not work just now (${why}); it is tried again by itself.`,
    retry: "soon",
  };
}

/** How a login failed; `isProven`: the account or its password is wrong, whenever it is tried. */
export interface LoginFailure {
  readonly why: string;
  readonly isProven: boolean;
}

/** SASL's failures; undefined for what is none. Only 904 and 905 are about the credentials themselves. */
export function saslFailureOf({ command, params }: Line): LoginFailure | undefined {
  if (!["902", "904", "905", "906", "908"].includes(command)) return undefined;
  const words = quoted(params.at(-1) ?? "");
  const sentence = numericOf(command)?.sentence ?? "";
  const isTrouble = command === "904" && UNAVAILABLE_SERVICES.test(words);
  return {
    why: isTrouble ? words : `${sentence}: ${command} ${words}`,
    isProven: (command === "904" && !isTrouble) || command === "905",
  };
}

const UNAVAILABLE_SERVICES =
  /tim(?:ed?|ing)[ -]?out|not available|unavailable|temporar|try again|(?:services|server) (?:is |are )?(?:down|offline)/i;
const REFUSED_BY_NICKSERV =
  /(?:invalid|incorrect|wrong) (?:password|credentials)|password (?:is )?(?:incorrect|invalid|wrong)|authentication failed|access denied|not (?:a )?registered|isn't (?:a )?registered|frozen|suspended/i;

/** What services say to whoever takes a nickname that is somebody's, unasked: no answer to a login. */
export function isReminder(text: string): boolean {
  return /nick(?:name)? is (?:registered|owned|protected)|please (?:choose|identify|log ?in)|msg \S+ identify|seconds? to (?:identify|change|comply)/i.test(
    text,
  );
}

/** Services answer in words alone; what is not known to be a refusal is none. */
export function nickservRefusalOf(text: string): LoginFailure | undefined {
  const words = quoted(text);
  return REFUSED_BY_NICKSERV.test(words) ? { why: words, isProven: true } : undefined;
}

/** A fault of our own in this connection. */
export function broken(error: unknown): Ending {
  const isLine = (error as NodeJS.ErrnoException | undefined)?.code === "EUNWRITABLE";
  return {
    state: "unknown_error",
    code: isLine ? "request.invalid" : "internal",
    message: isLine
      ? "A setting or credential holds a line end, which IRC cannot carry; give it again without."
      : "This connection failed by a fault of the daemon, which its log describes; it is tried again by itself.",
    retry: isLine ? "never" : "soon",
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
  if (code === "EUNWRITABLE") return broken(error);
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
  return withoutControls(words).trim().slice(0, MAX_QUOTED).toWellFormed();
}
