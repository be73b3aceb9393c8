/** Refusals of servers as our codes, with their scope. */
import { type ErrorCode, FabricError } from "@linkspan/envelopes";
import { isChannelName } from "./conversation.ts";
import { quoted } from "./wire/formatting.ts";
import type { Line } from "./inbound.ts";
import { isKnownNumeric, type Numeric, numericOf, type Scope } from "./numerics.ts";

/** A refusal that a server answered, with its scope. */
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
 * The refusal of a text that a numeric or FAIL expresses; undefined when it expresses none.
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
 * The refusal of a JOIN that a numeric or FAIL expresses.
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
