/** An identity that the connector keeps on a scripted server. */
import type {
  Connection,
  IdentityHost,
  LinkedIdentity,
  LinkOutcome,
  OutboundAction,
  Said,
} from "@linkspan/daemon-kit";
import type { Entity } from "@linkspan/envelopes";
import { RecordingHost, until } from "@linkspan/daemon-kit/contract";
import { type IrcConnectorOptions, ircConnector } from "../connector.ts";

export interface KeptOptions {
  readonly port: number;
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly secrets?: Readonly<Record<string, string>>;
  readonly checkpoint?: Readonly<Record<string, unknown>> | undefined;
  readonly connector?: IrcConnectorOptions;
}

export interface Saying {
  readonly conversation?: string;
  readonly windowMs?: number;
  readonly entities?: readonly Entity[];
}

export const ROOM = "msgr://channels/ws/bridge/irc/testnet/%23room";

/** Keeps what is written back, as the vault does. */
class KeepingHost extends RecordingHost {
  /** Credential fields that were written back, all of them each time. */
  readonly written: Readonly<Record<string, Uint8Array>>[] = [];
  override readonly secrets: IdentityHost["secrets"];
  #fields: Readonly<Record<string, Uint8Array>>;

  constructor(fields: Readonly<Record<string, Uint8Array>>) {
    super(fields);
    this.#fields = fields;
    const current = () => this.#fields;
    this.secrets = {
      get names() {
        return Object.keys(current());
      },
      get: (name) => current()[name]?.slice(),
    };
  }

  override async writeBack(fields: Readonly<Record<string, Uint8Array>> = {}): Promise<void> {
    this.written.push(fields);
    this.#fields = fields;
  }
}

export class Kept implements AsyncDisposable {
  readonly host: KeepingHost;
  readonly connection: Connection;
  #keys = 0;

  private constructor(host: KeepingHost, connection: Connection) {
    this.host = host;
    this.connection = connection;
  }

  static async open(options: KeptOptions): Promise<Kept> {
    const { irc, host, identity } = made(options);
    return new Kept(host, await irc.open(identity, host));
  }

  /** Tries to link, as the kit does. */
  static async link(options: KeptOptions): Promise<LinkOutcome | undefined> {
    const { irc, host, identity } = made(options);
    return irc.link?.(identity, host);
  }

  async becomes(state: string): Promise<string> {
    await until(state, () => this.host.states.at(-1)?.state === state);
    return this.host.states.at(-1)?.message ?? "";
  }

  texts(kind = "message"): string[] {
    return this.host.events
      .filter(({ payload }) => payload.kind === kind)
      .map(({ payload }) => payload.text ?? "");
  }

  /** Says one part. */
  async say(text: string, { conversation = ROOM, windowMs = 5_000, ...more }: Saying = {}): Promise<Said> {
    return this.#perform({ action: "outbound_message", conversation, payload: { text, ...more } }, windowMs);
  }

  async act(action: string, payload: Readonly<Record<string, unknown>>): Promise<Said> {
    return this.#perform({ action, conversation: undefined, payload }, 5_000);
  }

  async #perform(action: OutboundAction, windowMs: number): Promise<Said> {
    const [part] = this.connection.plan(action);
    if (part === undefined) throw new Error("no part");
    this.#keys += 1;
    const window = { untilMs: performance.now() + windowMs, signal: new AbortController().signal };
    return this.connection.perform(part, `key-${this.#keys}`, window);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.host.release();
    await this.connection[Symbol.asyncDispose]();
  }
}

function made({ port, settings, secrets = {}, checkpoint, connector }: KeptOptions) {
  const bytes = Object.entries(secrets).map(([name, text]) => [name, Buffer.from(text)] as const);
  const host = new KeepingHost(Object.fromEntries(bytes));
  const retry = { minMs: 20, maxMs: 50 };
  const irc = ircConnector({ privateHosts: true, retry, ...connector });
  const pace = { perSecond: 10_000, burst: 10_000 };
  const identity: LinkedIdentity = {
    identityId: "id-1",
    workspaceId: "ws",
    userId: "user",
    home: "primary",
    checkpoint,
    settings: {
      network: "testnet",
      host: "127.0.0.1",
      port,
      tls: false,
      nick: "alice",
      channels: ["#room"],
      pace,
      ...settings,
    },
  };
  return { irc, host, identity };
}
