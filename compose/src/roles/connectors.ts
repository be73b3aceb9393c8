/** Which platform a role speaks. */
import { EchoPlatform, echoConnector } from "@linkspan/daemon-echo";
import { ircConnector } from "@linkspan/daemon-irc";
import type { Connector } from "@linkspan/daemon-kit";
import type { Config, Role } from "../config.ts";

const CONNECTORS = {
  irc: () => ircConnector(),
  echo: () => echoConnector({ platform: new EchoPlatform() }),
} as const satisfies Partial<Record<Role, () => Connector>>;

/** The daemons among the roles. */
export function connectorsOf(config: Config): Connector[] {
  return config.roles
    .filter((role) => role in CONNECTORS)
    .map((role) => CONNECTORS[role as keyof typeof CONNECTORS]());
}
