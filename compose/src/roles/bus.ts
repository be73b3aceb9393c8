/** The bus that the configuration names; the only place where a driver is chosen. */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { type Bus, EmbeddedBroker } from "@linkspan/fabric";
import type { Logger } from "pino";
import type { Config } from "../config.ts";

/** Connects one participant; in one process each role is a participant of its own. */
export type Connect = (service: string) => Promise<Bus>;

export function busOf(config: Config, _log: Logger): Connect {
  const { amqp_url: url, instance } = config;
  if (url === undefined) {
    const broker = new EmbeddedBroker();
    return (service) => Promise.resolve(broker.connect({ service, instance, bootId: randomUUID() }));
  }
  throw new Error("amqp not yet");
}

/** A namespace is a vhost; a URL that names one itself wins. */
function vhostUrl(url: string, namespace: string): string {
  const parsed = new URL(url);
  if (parsed.pathname === "" || parsed.pathname === "/") parsed.pathname = `/${namespace}`;
  return parsed.toString();
}

function tlsOf({ amqp_ca, amqp_cert, amqp_key }: Config) {
  if (amqp_ca === undefined && amqp_cert === undefined) return undefined;
  return {
    ...(amqp_ca !== undefined && { ca: readFileSync(amqp_ca) }),
    ...(amqp_cert !== undefined && { cert: readFileSync(amqp_cert) }),
    ...(amqp_key !== undefined && { key: readFileSync(amqp_key) }),
  };
}
