/** How logins fail, and what that means: only what is proven wrong asks a person. */
import type { Ending } from "./ending.ts";
import { quoted } from "./wire/formatting.ts";
import type { Line } from "./inbound.ts";
import { numericOf } from "./numerics.ts";

/** How logins went, over all connections of an identity. */
export interface Logins {
  hasWorked: boolean;
  /** Refused in a row. */
  refusals: number;
}

/** A login that has worked before is given up after this many refusals in a row. */
const MAX_REFUSALS = 3;

/** How a connection ends whose login failed: one that has worked is not given up because it is refused once. */
export function loginEnding({ why, isProven }: LoginFailure, logins: Logins): Ending {
  if (!isProven) return loginUnavailable(why);
  logins.refusals += 1;
  return logins.hasWorked && logins.refusals < MAX_REFUSALS
    ? loginUnavailable(`${why}, though it has worked before`)
    : loginRefused(why);
}

/** The credentials are wrong, or can never be used: a person must act. */
export function loginRefused(why: string): Ending {
  return {
    state: "bad_credentials",
    code: "platform.auth_expired",
    message: `The login was not accepted (${why}); link the account again.`,
    retry: "never",
    login: why,
  };
}

/** The login could not be tried, or was refused after it has worked before: nothing proves it wrong. */
export function loginUnavailable(why: string): Ending {
  return {
    state: "transient_disconnect",
    code: "platform.unavailable",
    message: `Not connected, because the network's login does not work just now (${why}); it is tried again by itself.`,
    retry: "soon",
    login: why,
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

/** The reminder that services send to a client that takes a registered nickname: no answer to a login. */
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
