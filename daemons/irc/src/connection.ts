/**
 * Connection supervisor of one linked identity: connects, and connects again until it is disposed.
 *
 *   wait for a place at the host → connect → welcome → until it ends → wait → again
 *
 * The wait doubles from seconds to minutes and is partly random. An ending that only a person can change is
 * reported and not tried again; one by which the network asks us to stay away waits much longer.
 */
import {
  backoffMs,
  type Clock,
  type Connection,
  type HistoryRequest,
  type IdentityHost,
  type LinkedIdentity,
  type OutboundAction,
  type Part,
  pause,
  type RosterEntry,
  type Said,
  type Window,
} from "@linkspan/daemon-kit";
import { FabricError } from "@linkspan/envelopes";
import { PACE } from "./capabilities.ts";
import type { Settings } from "./config.ts";
import type { Self } from "./conversation.ts";
import { broken, type Ending } from "./errors.ts";
import type { Hosts } from "./hosts.ts";
import type { Networks } from "./networks.ts";
import { toParts, type Write } from "./outbound.ts";
import { textOf } from "./secrets.ts";
import { ChannelKeys } from "./session/channel-keys.ts";
import { Memory } from "./session/memory.ts";
import type { Patience } from "./session/options.ts";
import { Session } from "./session/session.ts";
import type { Endpoint } from "./wire/line-socket.ts";

/** After a ban or a refusal for too many connections. */
const LATE = { minMs: 600_000, maxMs: 21_600_000 } as const;
/** A connection that lived this long was a good one. */
const GOOD_MS = 60_000;

/** Options that all connections of a daemon share, and those of a link. */
export interface ConnectionContext {
  /** Servers on loopback and private addresses are connected to. */
  readonly privateHosts: boolean;
  readonly patience: Patience;
  readonly clock: Clock;
  readonly hosts: Hosts;
  readonly networks: Networks;
  /** Waiting time before another try, milliseconds. */
  readonly retry: { readonly minMs: number; readonly maxMs: number };
  /** Only the login is tried; nothing is joined. */
  readonly linking?: boolean;
  readonly onLinked?: (nick: string) => void;
  /** An ending that trying again within the minute of a link would not change. */
  readonly onFailed?: (ending: Ending) => void;
}

export class IrcConnection implements Connection {
  readonly #identity: LinkedIdentity;
  readonly #settings: Settings;
  readonly #host: IdentityHost;
  readonly #context: ConnectionContext;
  readonly #memory: Memory;
  readonly #keys: ChannelKeys;
  /** Its place among the accounts under its network's name; a link that is tried has none. */
  readonly #residence: Disposable | undefined;
  readonly #closing = new AbortController();
  readonly #kept: Promise<void>;
  #session: Session | undefined;

  constructor(identity: LinkedIdentity, settings: Settings, host: IdentityHost, context: ConnectionContext) {
    this.#identity = identity;
    this.#settings = settings;
    this.#host = host;
    this.#context = context;
    this.#keys = new ChannelKeys(host);
    this.#memory = new Memory({
      ...settings,
      identityId: identity.identityId,
      clock: context.clock,
      keyOf: (name) => this.#keys.of(name),
      checkpoint: identity.checkpoint,
    });
    this.#residence =
      context.linking === true ? undefined : context.networks.keep({ ...settings, ...identity });
    const failed = host.guard((error: unknown) => {
      const { state, code, message } = broken(error);
      host.state({ state, code, message });
      throw error;
    });
    this.#kept = this.#keep(AbortSignal.any([host.signal, this.#closing.signal])).catch(failed);
  }

  get self(): { readonly remote: string; readonly name: string } | undefined {
    const nick = this.#session?.isWelcome === true ? this.#session.self.nick : undefined;
    return nick === undefined ? undefined : { remote: `${this.#settings.network}/${nick}`, name: nick };
  }

  plan(action: OutboundAction): readonly Part[] {
    const { pace, maxLines } = this.#settings;
    return toParts(action, this.#self(), {
      maxParts: maxLines,
      linesPerText: this.#session?.linesPerText ?? 2,
      costPerLine: PACE.perSecond / pace.perSecond,
    });
  }

  async perform(part: Part, key: string, window: Window): Promise<Said> {
    const session = this.#session;
    if (session?.isWelcome !== true) throw new FabricError("platform.unavailable", "there is no connection");
    return session.perform(part.data as Write, key, window);
  }

  async history(request: HistoryRequest): Promise<void> {
    await this.#connected().history(request);
  }

  async roster(): Promise<readonly RosterEntry[]> {
    return this.#connected().roster();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#kept;
    this.#residence?.[Symbol.dispose]();
  }

  #connected(): Session {
    if (this.#session?.isWelcome === true) return this.#session;
    throw new FabricError("platform.unavailable", "there is no connection");
  }

  /** The account as the mappings see it; before the first welcome, as it will most likely be. */
  #self(): Self {
    const { workspaceId, identityId } = this.#identity;
    const { network, nick } = this.#settings;
    const unknown = { caseMapping: "rfc1459", channelTypes: "#&", statusPrefixes: "" } as const;
    return this.#session?.self ?? { workspaceId, identityId, network, nick, ...unknown };
  }

  async #keep(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; ) {
      const { ending, livedMs } = await this.#once(signal);
      if (signal.aborted || ending === undefined) return;
      failures = livedMs > GOOD_MS ? 1 : failures + 1;
      if (ending.flooded === true) this.#memory.gate.slowDown();
      if (!(await this.#pause(ending, failures, signal))) return;
    }
  }

  /** One connection. @returns undefined when it was never made because we are closing */
  async #once(signal: AbortSignal): Promise<{ ending: Ending | undefined; livedMs: number }> {
    const { hosts, patience, clock } = this.#context;
    const { host: address } = this.#settings;
    const { workspaceId } = this.#identity;
    const host = this.#host;
    let place: Awaited<ReturnType<Hosts["enter"]>>;
    try {
      place = await hosts.enter({ host: address, workspaceId }, signal, (ahead) => this.#queued(ahead));
    } catch (error) {
      if (signal.aborted) return { ending: undefined, livedMs: 0 };
      throw error;
    }
    const beganMs = clock.monotonicMs();
    host.state({ state: "connecting", message: `Connecting to ${address}.` });
    try {
      const [identity, settings, memory] = [this.#identity, this.#settings, this.#memory];
      const endpoint = this.#endpoint();
      const secret = (name: string) => this.#secret(name);
      const keepKey = (channel: string, key: string | undefined) => this.#keys.keep(channel, key);
      const { linking = false, onLinked } = this.#context;
      const session = new Session({
        identity,
        settings,
        endpoint,
        host,
        memory,
        patience,
        clock,
        secret,
        keepKey,
        linking,
      });
      this.#session = session;
      const close = () => void session.close();
      signal.addEventListener("abort", close, { once: true });
      await session.welcome;
      place.settled();
      if (session.isWelcome) onLinked?.(session.self.nick);
      const ending = await session.ended;
      signal.removeEventListener("abort", close);
      host.log.info({ event: "irc.disconnected", state: ending.state, code: ending.code });
      return { ending, livedMs: clock.monotonicMs() - beganMs };
    } finally {
      this.#session = undefined;
      place.leave();
    }
  }

  /** @returns false when nothing will help until a person acts */
  async #pause(ending: Ending, failures: number, signal: AbortSignal): Promise<boolean> {
    const { state, message, code, retry, flooded, login } = ending;
    if (login !== undefined || retry !== "soon") this.#context.onFailed?.(ending);
    if (retry === "never") {
      this.#host.state({ state, message, code });
      return false;
    }
    const { clock } = this.#context;
    const waitMs = backoffMs(retry === "late" ? LATE : this.#context.retry, failures);
    this.#host.state({ state, message, code, retryAt: new Date(clock.now().getTime() + waitMs) });
    if (flooded === true || code === "platform.rate_limited") {
      this.#host.throttle({ reason: message, retryAfterMs: waitMs });
    }
    await pause(clock, waitMs, signal);
    return true;
  }

  #queued(ahead: number): void {
    const message = `Waiting for a place: this daemon's connections to ${this.#settings.host} are all in use, ${ahead} wait before.`;
    this.#host.state({ state: "connecting", message });
  }

  #endpoint(): Endpoint {
    const { host, port, tls, encoding } = this.#settings;
    const { privateHosts, patience } = this.#context;
    const own = { certificate: this.#secret("certificate"), key: this.#secret("certificate_key") };
    const trust = typeof tls === "boolean" ? {} : tls;
    return {
      host,
      port,
      privateHosts,
      encoding,
      connectTimeoutMs: patience.connectMs,
      tls: tls === false ? undefined : { ...trust, ...own },
    };
  }

  #secret(name: string): string | undefined {
    return textOf(this.#host.secrets, name);
  }
}
