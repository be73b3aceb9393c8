/** How an AMQP bus is reached and bounded, and how amqplib is told so. */
import { connect as connectSocket } from "node:net";
import { FabricError } from "@linkspan/envelopes";
import { type ChannelModel, connect, credentials, type Options, type SocketOptions } from "amqplib";
import type { Backoff, Patience } from "../backoff.ts";
import { type Clock, type Random, systemClock } from "../clock.ts";
import type { BusListener } from "../events.ts";
import type { Peer } from "../peer.ts";

export interface AmqpBusConfig extends Peer {
  /** `amqp://` or `amqps://`, with host and port, and perhaps user, password and vhost. */
  readonly url: string;
  /** The vhost is the namespace; overrides the URL's path. */
  readonly vhost?: string;
  /** Default: user and password of the URL. `external`: the client certificate of `tls` signs in. */
  readonly auth?:
    | { readonly kind: "plain"; readonly user: string; readonly password: string }
    | { readonly kind: "external" };
  readonly tls?: AmqpTls;
  /** Stamped on every message; the broker refuses any but the connection's own user. */
  readonly userId?: string;
  /** Seconds between heartbeats, default 5; two to three times as long a silence is a dead peer. */
  readonly heartbeatSeconds?: number;
  /** From the first packet until the broker has let us in; default 10,000. */
  readonly connectTimeoutMs?: number;
  /**
   * Whether this process declares the exchange and the dead letters, or only makes sure that they are there;
   * default: for the reserved services, `core` and `vault`.
   */
  readonly ownsTopology?: boolean;
  /** How often what was declared is looked after; default 5,000. */
  readonly topologyCheckMs?: number;
  /** Unconfirmed messages on the wire; default 1,000 and 16 MiB. */
  readonly window?: { readonly maxCount: number; readonly maxBytes: number };
  /** Further publishes that may wait for the window; beyond it they reject with `bus.unavailable`. Default 100,000. */
  readonly maxWaiting?: number;
  /** Bytes of all publishes that are not confirmed; beyond it they reject with `bus.unavailable`. Default 64 MiB. */
  readonly maxWaitingBytes?: number;
  /** A message unconfirmed for so long is sent again on a new channel; default 15,000. */
  readonly confirmTimeoutMs?: number;
  /** Default 100 ms to 10 s. */
  readonly reconnect?: Backoff;
  /** Keeps what declared queues were sent, for `replay`; absent: no stream is declared. */
  readonly replayBuffer?: ReplayBuffer;
  readonly patience?: Patience;
  readonly listener?: BusListener;
  readonly clock?: Clock;
  readonly random?: Random;
}

export interface AmqpTls {
  /** PEM. */
  readonly ca?: string | Buffer | readonly (string | Buffer)[];
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  readonly passphrase?: string;
  readonly servername?: string;
}

export interface ReplayBuffer {
  readonly maxBytes: number;
  readonly maxAgeSeconds: number;
}

export const DEFAULT_RECONNECT: Backoff = { minMs: 100, maxMs: 10_000 };
export const DEFAULT_WINDOW = { maxCount: 1_000, maxBytes: 16 * 1024 * 1024 };
export const DEFAULT_CONFIRM_MS = 15_000;
export const DEFAULT_WAITING = 100_000;
export const DEFAULT_WAITING_BYTES = 64 * 1024 * 1024;
export const DEFAULT_TOPOLOGY_CHECK_MS = 5_000;
const DEFAULT_CONNECT_MS = 10_000;

/**
 * Opens one connection. @param purpose shown in the broker's list of connections
 *
 * @param signal calls it off; then, and when it takes too long, no socket is left
 * @throws FabricError `bus.timeout`; or what amqplib throws
 */
export async function openConnection(
  config: AmqpBusConfig,
  purpose: string,
  signal: AbortSignal,
): Promise<ChannelModel> {
  const name = `${config.service}.${config.instance ?? "primary"} ${purpose}`;
  const clock = config.clock ?? systemClock;
  const timeoutMs = config.connectTimeoutMs ?? DEFAULT_CONNECT_MS;
  const over = new AbortController();
  const end = (): void => over.abort(new FabricError("bus.unavailable", "the attempt was called off"));
  // amqplib's own time-out is one of silence: a peer that says a little now and then would keep it for ever.
  const cancel = clock.after(timeoutMs, () =>
    over.abort(new FabricError("bus.timeout", `no connection within ${timeoutMs} ms`)),
  );
  if (signal.aborted) end();
  signal.addEventListener("abort", end, { once: true });
  const aborted = new Promise<never>((_, reject) => {
    const stop = (): void => reject(over.signal.reason as Error);
    if (over.signal.aborted) stop();
    else over.signal.addEventListener("abort", stop, { once: true });
  });
  aborted.catch(() => undefined);
  try {
    over.signal.throwIfAborted();
    const address = addressOf(config);
    const socket = socketOf(address, over.signal);
    const opening = connect(address, { ...socketOptionsOf(config, name), ...socket });
    opening.catch(() => undefined);
    return await Promise.race([opening, aborted]);
  } catch (error) {
    over.abort(error); // whatever it was, the socket goes
    throw error;
  } finally {
    cancel();
    signal.removeEventListener("abort", end);
  }
}

/** How amqplib is given a socket that the signal destroys: TLS runs over one of ours. */
function socketOf({ protocol, hostname, port }: Options.Connect, signal: AbortSignal): object {
  if (protocol !== "amqps") return { signal };
  const socket = connectSocket({ host: hostname ?? "", port: port ?? 5671, signal });
  socket.on("error", () => undefined); // what runs over it tells the same
  return { socket };
}

function addressOf(config: AmqpBusConfig): Options.Connect {
  const url = new URL(config.url);
  const vhost = config.vhost ?? (decodeURIComponent(url.pathname.slice(1)) || "/");
  return {
    protocol: url.protocol.slice(0, -1),
    hostname: url.hostname.replace(/^\[|\]$/g, ""),
    ...(url.port === "" ? {} : { port: Number(url.port) }),
    vhost: encodeURIComponent(vhost),
    heartbeat: config.heartbeatSeconds ?? 5,
  };
}

function credentialsOf({ auth }: AmqpBusConfig, url: URL): NonNullable<Options.Connect["credentials"]> {
  if (auth?.kind === "external") return credentials.external();
  if (auth?.kind === "plain") return credentials.plain(auth.user, auth.password);
  return credentials.plain(
    decodeURIComponent(url.username) || "guest",
    decodeURIComponent(url.password) || "guest",
  );
}

function socketOptionsOf(config: AmqpBusConfig, name: string): SocketOptions {
  const { ca, cert, key, passphrase, servername } = config.tls ?? {};
  const url = new URL(config.url);
  return {
    noDelay: true,
    keepAlive: true,
    timeout: config.connectTimeoutMs ?? DEFAULT_CONNECT_MS,
    credentials: credentialsOf(config, url),
    clientProperties: { connection_name: name, product: "linkspan" },
    ...(ca === undefined ? {} : { ca: [ca].flat() }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(servername === undefined ? {} : { servername }),
  };
}
