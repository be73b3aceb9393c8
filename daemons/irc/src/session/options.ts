/** Options of one connection. */
import type { Clock, IdentityHost, LinkedIdentity } from "@linkspan/daemon-kit";
import type { ClientOptions } from "../client.ts";
import type { Settings } from "../config.ts";
import type { Endpoint } from "../wire/line-socket.ts";
import type { Memory } from "./memory.ts";

/** Time limits of a connection, milliseconds. */
export interface Patience {
  readonly connectMs: number;
  readonly registerMs: number;
  /** How long NickServ may take to answer a login. */
  readonly identifyMs: number;
  /** How long channels may take to answer before we count as connected without them. */
  readonly joinMs: number;
  /** Silence after which the server is sent a PING, and how long it may take to answer. */
  readonly quietMs: number;
  readonly graceMs: number;
  /** How long a netsplit's lines are gathered. */
  readonly splitMs: number;
  /** How long after its first words a server that never ends its greeting is taken to be ready. */
  readonly greetMs: number;
  /** First wait before a nickname that is not ours is asked back; it doubles. */
  readonly askNickMs: number;
  /** First wait before NickServ, which has not answered, is asked again; it doubles. */
  readonly identifyAgainMs: number;
}

export interface SessionOptions {
  readonly identity: LinkedIdentity;
  readonly settings: Settings;
  readonly endpoint: Endpoint;
  readonly host: IdentityHost;
  readonly memory: Memory;
  readonly patience: Patience;
  readonly clock: Clock;
  /** Credential fields as text. */
  readonly secret: (name: string) => string | undefined;
  /**
   * Keeps the key of a channel, or forgets it. Never rejects.
   *
   * @returns a sentence for a person when it could not be kept
   */
  readonly keepKey: (channel: string, key: string | undefined) => Promise<string | undefined>;
  /** The account is being linked: whatever keeps it from logging in is a failure. */
  readonly linking?: boolean;
}

export function clientOptions({ settings, endpoint, secret }: SessionOptions): ClientOptions {
  const { nick, username, realname, sasl, withoutCaps } = settings;
  const password = secret("password");
  const login = (): ClientOptions["sasl"] => {
    if (sasl?.mechanism === "EXTERNAL") return { mechanism: "EXTERNAL" };
    if (sasl === undefined || password === undefined) return undefined;
    return { mechanism: "PLAIN", account: sasl.account ?? nick, password };
  };
  return {
    endpoint,
    nick,
    username: username ?? usernameOf(nick),
    realname: realname ?? nick,
    serverPassword: secret("server_password"),
    sasl: login(),
    withoutCaps,
  };
}

/** Letters and digits of a nickname; servers take no others before the host. */
function usernameOf(nick: string): string {
  return nick.replace(/[^A-Za-z0-9]/g, "").slice(0, 10) || "user";
}
