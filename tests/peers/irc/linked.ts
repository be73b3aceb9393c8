/** A linked identity on a test server: the IRC connector under a host that only records. */
import type {
  BridgeState,
  Connection,
  Connector,
  LinkedIdentity,
  OutboundAction,
  Said,
  Window,
} from "@linkspan/daemon-kit";
import { RecordingHost, until } from "@linkspan/daemon-kit/contract";
import { ircConnector, type IrcConnectorOptions } from "@linkspan/daemon-irc";
import { channelRef } from "@linkspan/envelopes";

export const WORKSPACE = "ws";
export const NETWORK = "testnet";
/** Test servers punish no flood. */
export const UNPACED = { perSecond: 10_000, burst: 10_000 };

export interface LinkedOptions {
  readonly port: number;
  readonly nick: string;
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly secrets?: Readonly<Record<string, Uint8Array>>;
  readonly checkpoint?: LinkedIdentity["checkpoint"];
  readonly connector?: IrcConnectorOptions;
  /** A connector that others use, too. */
  readonly through?: Connector;
}

export function linkedIdentity({ port, nick, settings, checkpoint }: LinkedOptions): LinkedIdentity {
  return {
    identityId: `id-${nick}`,
    workspaceId: WORKSPACE,
    userId: "user",
    home: "primary",
    settings: definedOf({
      network: NETWORK,
      host: "127.0.0.1",
      port,
      tls: false,
      nick,
      pace: UNPACED,
      ...settings,
    }),
    checkpoint,
  };
}

export class Linked implements AsyncDisposable {
  readonly host: RecordingHost;
  readonly identity: LinkedIdentity;
  readonly connection: Connection;
  #keys = 0;

  private constructor(identity: LinkedIdentity, host: RecordingHost, connection: Connection) {
    this.identity = identity;
    this.host = host;
    this.connection = connection;
  }

  /** Opens it; it need not be connected yet. */
  static async open(options: LinkedOptions): Promise<Linked> {
    const identity = linkedIdentity(options);
    const host = new RecordingHost(options.secrets);
    const retry = { minMs: 50, maxMs: 200 };
    const connector = options.through ?? ircConnector({ privateHosts: true, retry, ...options.connector });
    return new Linked(identity, host, await connector.open(identity, host));
  }

  static async connected(options: LinkedOptions): Promise<Linked> {
    const linked = await Linked.open(options);
    await linked.becomes("connected");
    return linked;
  }

  get state(): BridgeState | undefined {
    return this.host.states.at(-1);
  }

  async becomes(state: BridgeState["state"]): Promise<BridgeState> {
    await until(`${state}, not ${JSON.stringify(this.state)}`, () => this.state?.state === state, 20_000);
    return this.state as BridgeState;
  }

  channel(name: string): string {
    return channelRef(WORKSPACE, "irc", [NETWORK, name]);
  }

  query(nick: string): string {
    return channelRef(WORKSPACE, "irc", [NETWORK, `~${this.identity.identityId}`, nick]);
  }

  /** Texts of a kind of event in a conversation, in order. */
  texts(conversation: string, kind = "message"): string[] {
    return this.host.events
      .filter((event) => event.conversation === conversation && event.payload.kind === kind)
      .map(({ payload }) => payload.text ?? "");
  }

  async sees(what: string, holds: () => boolean): Promise<void> {
    await until(what, holds, 20_000);
  }

  async say(
    conversation: string,
    text: string,
    more: Readonly<Record<string, unknown>> = {},
  ): Promise<Said[]> {
    return this.act({ action: "outbound_message", conversation, payload: { text, ...more } });
  }

  async act(
    action: Omit<OutboundAction, "name"> & { readonly name?: string },
    windowMs = 10_000,
  ): Promise<Said[]> {
    const said: Said[] = [];
    for (const part of this.connection.plan({ name: action.action, ...action })) {
      this.#keys += 1;
      said.push(await this.connection.perform(part, `key-${this.#keys}`, openWindow(windowMs)));
    }
    return said;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.host.release();
    await this.connection[Symbol.asyncDispose]();
  }
}

export function openWindow(ms = 10_000): Window {
  return { untilMs: performance.now() + ms, signal: new AbortController().signal };
}

/** A setting given as undefined takes its default away. */
function definedOf(settings: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}
