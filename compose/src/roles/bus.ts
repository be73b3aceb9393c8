/** The bus that the configuration names. A driver is chosen only here. */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { type AmqpBusConfig, type Bus, type BusEvent, EmbeddedBroker } from "@linkspan/fabric";
import { isFabricError } from "@linkspan/envelopes";
import type { Logger } from "pino";
import type { Config } from "../config.ts";

/** Connects one participant; in one process each role is a separate participant. */
export type Connect = (service: string) => Promise<Bus>;

export function busOf(config: Config, log: Logger): Connect {
  const { amqp_url: url, instance } = config;
  const peerOf = (service: string) => ({
    service,
    // The core serves the whole namespace; shards exist only for daemons.
    ...(service !== "core" && { instance }),
    bootId: randomUUID(),
  });
  const listener = (event: BusEvent) => report(event, log);
  if (url === undefined) {
    const broker = new EmbeddedBroker();
    return (service) => Promise.resolve(broker.connect(peerOf(service), { listener }));
  }
  const connect = amqp(config, url, log);
  return (service) => connect({ ...peerOf(service), listener, ...replayOf(service, config) });
}

type Participant = Pick<AmqpBusConfig, "service" | "instance" | "bootId" | "listener" | "replayBuffer">;

function amqp(config: Config, url: string, log: Logger): (participant: Participant) => Promise<Bus> {
  const signIn = signInOf(config, url);
  const vhosts = vhostsOf(config, url);
  return async (participant) => {
    const { AmqpBus } = await import("@linkspan/fabric");
    const open = (vhost: string) => AmqpBus.connect({ ...participant, ...signIn, url, vhost });
    const [vhost = "/", ...others] = vhosts;
    try {
      return await open(vhost);
    } catch (error) {
      for (const other of others) {
        const bus = await open(other).catch(() => undefined);
        if (bus === undefined) continue;
        log.warn(
          { event: "bus.vhost_missing", vhost, used: other },
          "a namespace has a vhost of its own name",
        );
        vhosts.splice(0, vhosts.length, other);
        return bus;
      }
      throw error;
    }
  };
}

/**
 * A namespace is a vhost with its name; a vhost named in the URL has priority. A newly installed broker has
 * only `/`, which is sufficient for development.
 */
function vhostsOf({ namespace, profile }: Config, url: string): string[] {
  const named = decodeURIComponent(new URL(url).pathname.slice(1));
  if (named !== "") return [named];
  return profile === "development" ? [namespace, "/"] : [namespace];
}

/** The client certificate authenticates unless the URL names a user. */
function signInOf(config: Config, url: string): Pick<AmqpBusConfig, "tls" | "auth" | "userId"> {
  const { amqp_ca, amqp_cert, amqp_key } = config;
  const { username } = new URL(url);
  const tls = {
    ...(amqp_ca !== undefined && { ca: readFileSync(amqp_ca) }),
    ...(amqp_cert !== undefined && { cert: readFileSync(amqp_cert) }),
    ...(amqp_key !== undefined && { key: readFileSync(amqp_key) }),
  };
  return {
    ...(Object.keys(tls).length > 0 && { tls }),
    ...(amqp_cert !== undefined && username === "" && { auth: { kind: "external" as const } }),
    ...(username !== "" && { userId: decodeURIComponent(username) }),
  };
}

const MIB = 1_048_576;
const WEEK_S = 7 * 86_400;

/** Only the participant that declares the core's queues also declares the stream. */
function replayOf(service: string, { amqp_replay_mib }: Config): Pick<AmqpBusConfig, "replayBuffer"> {
  if (service !== "core" || amqp_replay_mib === 0) return {};
  return { replayBuffer: { maxBytes: amqp_replay_mib * MIB, maxAgeSeconds: WEEK_S } };
}

function report(event: BusEvent, log: Logger): void {
  switch (event.event) {
    case "bus.up":
    case "bus.unblocked":
      log.info(event);
      return;
    case "bus.batch_rejected":
    case "bus.message_stuck": {
      const { error, ...rest } = event;
      const line = { ...rest, code: isFabricError(error) ? error.code : "internal", err: error };
      if (event.event === "bus.message_stuck") log.error(line);
      else log.warn(line);
      return;
    }
    default:
      log.warn(event);
  }
}
