/** IRC as a connector: what is given is checked, a link is a login and nothing else, and identities are kept. */
import {
  type Clock,
  type Connector,
  type IdentityHost,
  type LinkedIdentity,
  type LinkOutcome,
  systemClock,
} from "@linkspan/daemon-kit";
import { CAPABILITIES, DECLARATION } from "./capabilities.ts";
import { parseSettings, type Settings } from "./config.ts";
import { type ConnectionContext, IrcConnection } from "./connection.ts";
import { SERVICE } from "./conversation.ts";
import { Hosts } from "./hosts.ts";
import { Networks } from "./networks.ts";
import { checkLogin, checkSecrets, textOf } from "./secrets.ts";
import type { Patience } from "./session/options.ts";

export interface IrcConnectorOptions {
  /** Servers on loopback and private addresses are connected to. Default false. */
  readonly privateHosts?: boolean;
  /** Identities connected to one host at once. Default 100. */
  readonly connectionsPerHost?: number;
  /** Connections to one host that are being made at once. Default 2. */
  readonly attemptsPerHost?: number;
  readonly patience?: Partial<Patience>;
  /** Waiting time before another try, milliseconds. Default 2,000 doubling to 300,000. */
  readonly retry?: { readonly minMs: number; readonly maxMs: number };
  /** Time of every connection, but for the socket's own deadline. Default the system's. */
  readonly clock?: Clock;
}

const PATIENCE: Patience = {
  connectMs: 30_000,
  registerMs: 60_000,
  quietMs: 60_000,
  graceMs: 30_000,
  identifyMs: 5_000,
  joinMs: 10_000,
  splitMs: 3_000,
  greetMs: 5_000,
  askNickMs: 60_000,
  identifyAgainMs: 60_000,
};
const RETRY = { minMs: 2_000, maxMs: 300_000 } as const;
export function ircConnector(options: IrcConnectorOptions = {}): Connector {
  const { connectionsPerHost = 100, attemptsPerHost = 2, privateHosts = false, retry = RETRY } = options;
  const hosts = new Hosts({ connections: connectionsPerHost, attempts: attemptsPerHost });
  const context: ConnectionContext = {
    privateHosts,
    retry,
    clock: options.clock ?? systemClock,
    hosts,
    networks: new Networks(),
    patience: { ...PATIENCE, ...options.patience },
  };
  return {
    service: SERVICE,
    capabilities: CAPABILITIES,
    declaration: DECLARATION,
    open: async (identity, host) =>
      new IrcConnection(identity, settingsOf(identity, host), host, { ...context, linking: false }),
    link: (identity, host) => link(identity, host, context),
  };
}

/**
 * @throws FabricError `request.invalid` naming every setting and credential that IRC cannot carry
 */
function settingsOf({ settings: given }: LinkedIdentity, { secrets }: IdentityHost): Settings {
  const settings = parseSettings(given);
  checkSecrets(secrets);
  // A password without a setting that says what it is for is the account's, whose name is the nickname.
  const isBare = settings.sasl === undefined && settings.nickserv === undefined;
  if (!isBare || textOf(secrets, "password") === undefined) return settings;
  return { ...settings, sasl: { mechanism: "PLAIN", account: settings.nick } };
}

/** Logs in once and leaves. What keeps the account out, or cannot be tried, is the outcome. */
async function link(
  identity: LinkedIdentity,
  host: IdentityHost,
  context: ConnectionContext,
): Promise<LinkOutcome> {
  const settings = settingsOf(identity, host);
  checkLogin(host.secrets, settings);
  context.networks.require({ ...settings, workspaceId: identity.workspaceId });
  const outcome = Promise.withResolvers<LinkOutcome>();
  const connection = new IrcConnection(identity, settings, host, {
    ...context,
    linking: true,
    onLinked: (nick) =>
      outcome.resolve({ status: "linked", remote: `${settings.network}/${nick}`, name: nick }),
    onFailed: ({ code, message, login }) => {
      const isTrouble = login !== undefined && code !== "platform.auth_expired";
      outcome.resolve({
        status: "failed",
        code,
        message: isTrouble
          ? `The login could not be tried (${login}); link again when it can, or without a password.`
          : message,
      });
    },
  });
  try {
    return await Promise.race([outcome.promise, rejected(host.signal)]);
  } finally {
    await connection[Symbol.asyncDispose]();
  }
}

async function rejected(signal: AbortSignal): Promise<never> {
  signal.throwIfAborted();
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
}
