/**
 * Refusals of IRC as our codes and as sentences for people.
 *
 * Numerics and FAIL codes are branched on (`numerics.ts`, `refusals.ts`, `logins.ts`). ERROR lines, which end a
 * connection, have only their text; the one table of such texts is here, and a text that it does not know is an
 * ordinary disconnect.
 */
import type { Ending } from "./ending.ts";
import type { Line } from "./inbound.ts";
import { loginRefused } from "./logins.ts";
import { quoted } from "./wire/formatting.ts";

export type { Ending } from "./ending.ts";

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
 * The ending that the text of an ERROR line means.
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

/** The server refuses connections without encryption. */
export function tlsWanted(host: string, port: number | undefined): Ending {
  const where = port === undefined ? "" : ` on port ${port}`;
  return {
    state: "unknown_error",
    code: "platform.forbidden",
    message: `${host} asks for an encrypted connection${where}, and the settings have none; set tls and the port.`,
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

/** The reason in `Closing Link: nick[host] (reason)` and its many spellings; never the address. */
function reasonIn(text: string): string {
  const rest = text.replace(/^closing link:?\s*/i, "");
  const [, inner = rest] = /^\S+\s+[([](.*)[)\]]\s*$/.exec(rest) ?? [];
  return quoted(inner) || "no reason given";
}
