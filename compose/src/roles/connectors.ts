/** The connector of each role. A platform's client is loaded only by a process that uses it. */
import type { Connector } from "@linkspan/daemon-kit";
import type { Config, Role } from "../config.ts";

const CONNECTORS = {
  irc: async (config) => {
    const { ircConnector } = await import("@linkspan/daemon-irc");
    return ircConnector({ privateHosts: mayDialPrivate(config) });
  },
  echo: async () => {
    const { EchoPlatform, echoConnector } = await import("@linkspan/daemon-echo");
    return echoConnector({ platform: new EchoPlatform() });
  },
} as const satisfies Partial<Record<Role, (config: Config) => Promise<Connector>>>;

export interface ConnectorRole {
  readonly service: Role;
  /** Creates a new one each time: after a fault no state of the last one is used again. */
  readonly open: () => Promise<Connector>;
}

/** The daemons among the roles. */
export function connectorsOf(config: Config): ConnectorRole[] {
  const roles = config.roles.filter((role) => role in CONNECTORS) as (keyof typeof CONNECTORS)[];
  return roles.map((service) => ({ service, open: () => CONNECTORS[service](config) }));
}

/**
 * On a laptop the IRC server is often on the same machine; elsewhere a user must not reach this machine's
 * internal addresses.
 */
function mayDialPrivate({ irc_private_hosts, profile }: Config): boolean {
  return (irc_private_hosts ?? (profile === "development" ? "allow" : "refuse")) === "allow";
}
