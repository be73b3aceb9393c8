/**
 * The echo connector. One connection reads its account's log from the checkpoint on, one event at a time, and says
 * parts once per key. When the platform drops it, it reconnects after a moment.
 */
import { setTimeout as delay } from "node:timers/promises";
import type {
  Capabilities,
  Connection,
  Connector,
  HistoryRequest,
  IdentityHost,
  LinkedIdentity,
  LinkOutcome,
  Part,
  RosterEntry,
  Said,
  Window,
} from "@linkspan/daemon-kit";
import { channelRef, FabricError, parseRef } from "@linkspan/envelopes";
import { aborted } from "@linkspan/time";
import { CAPABILITIES, DECLARATION } from "./capabilities.ts";
import type { EchoPlatform } from "./client.ts";
import { Counts } from "./counts.ts";
import { failureOf, uncertainty } from "./errors.ts";
import { type Self, seqOf, toEvents } from "./inbound.ts";
import { type EchoPart, toParts } from "./outbound.ts";

export interface EchoOptions {
  readonly platform: EchoPlatform;
  /** Service that it stands in for, default `echo`. */
  readonly service?: string;
  readonly capabilities?: Partial<Capabilities>;
  /** How long a dropped connection stays away, milliseconds, default 20. */
  readonly awayMs?: number;
}

export function echoConnector(options: EchoOptions): Connector {
  const { platform, service = "echo", awayMs = 20 } = options;
  return {
    service,
    capabilities: { ...CAPABILITIES, ...options.capabilities },
    declaration: DECLARATION,
    open: async (identity, host) => {
      refuseWrongLogin(host);
      const counts = isSet(identity.settings.count) ? await Counts.load(host.rows) : undefined;
      host.signal.throwIfAborted();
      return new EchoConnection(platform, selfOf(identity, service), identity, host, counts, awayMs);
    },
    link: (identity, host) => Promise.resolve(link(identity, host, service)),
  };
}

function selfOf({ identityId, workspaceId, settings }: LinkedIdentity, service: string): Self {
  const given = settings.name ?? settings.nick;
  const name = typeof given === "string" ? given : identityId;
  return { service, workspaceId, account: identityId, name };
}

/** Settings may come as text, too. */
function isSet(setting: unknown): boolean {
  return setting === true || setting === "true";
}

/** A password, where there is one, is right unless it is `wrong`. */
function refuseWrongLogin({ secrets }: IdentityHost): void {
  const password = secrets.get("password");
  if (password === undefined || Buffer.compare(password, Buffer.from("wrong")) !== 0) return;
  throw new FabricError("platform.auth_expired", "the echo platform does not know this password");
}

function link(identity: LinkedIdentity, host: IdentityHost, service: string): LinkOutcome {
  refuseWrongLogin(host);
  if (isSet(identity.settings.ask_code) && host.secrets.get("code") === undefined) {
    return {
      status: "awaiting",
      step: "code",
      fields: ["code"],
      message: "Enter the code that you were sent.",
    };
  }
  const { name } = selfOf(identity, service);
  return { status: "linked", remote: name, name };
}

class EchoConnection implements Connection {
  readonly self: { readonly remote: string; readonly name: string };
  readonly #platform: EchoPlatform;
  readonly #self: Self;
  readonly #settings: LinkedIdentity["settings"];
  readonly #host: IdentityHost;
  readonly #counts: Counts | undefined;
  readonly #awayMs: number;
  readonly #closing = new AbortController();
  readonly #reading: Promise<void>;
  readonly #endListening: () => void;
  #seq: number;
  #up = false;
  #wake: () => void = () => undefined;

  constructor(
    platform: EchoPlatform,
    self: Self,
    identity: LinkedIdentity,
    host: IdentityHost,
    counts: Counts | undefined,
    awayMs: number,
  ) {
    this.#platform = platform;
    this.#self = self;
    this.self = { remote: self.name, name: self.name };
    this.#settings = identity.settings;
    this.#host = host;
    this.#counts = counts;
    this.#awayMs = awayMs;
    this.#seq = seqOf(identity.checkpoint);
    this.#endListening = platform.listen(self.account, {
      entry: host.guard(() => this.#wake()),
      drop: host.guard(() => this.#onDrop()),
    });
    host.signal.addEventListener("abort", () => this.#close(), { once: true });
    this.#comeUp();
    this.#reading = this.#read();
  }

  plan(action: Parameters<Connection["plan"]>[0]): readonly Part[] {
    return toParts(action, this.#settings);
  }

  async perform(part: Part, key: string, window: Window): Promise<Said> {
    const { activity, order } = part.data as EchoPart;
    if (order.slowMs > 0) await Promise.race([delay(order.slowMs), aborted(window.signal)]);
    const failure = failureOf(order);
    if (failure !== undefined) throw failure;
    if (window.signal.aborted)
      throw new FabricError("platform.unavailable", "the window closed before it was sent");
    if (!this.#up) throw new FabricError("platform.unavailable", "the echo platform is away");
    if (order.lost) throw uncertainty();
    const count = activity.kind === "message" ? await this.#counted(activity.channel) : undefined;
    if (window.signal.aborted)
      throw new FabricError("platform.unavailable", "the window closed before it was sent");
    const style = { silent: order.silent, twice: order.duplicate, late: order.reorder };
    const { id, at } = this.#platform.perform(
      this.#self.account,
      key,
      count === undefined ? activity : { ...activity, count },
      style,
    );
    if (order.drop) this.#platform.drop(this.#self.account);
    if (order.uncertain) throw uncertainty();
    return { remoteId: id, at };
  }

  /** Kept before the message leaves. What cannot be kept ends the connection: the next one loads what is. */
  async #counted(channel: string): Promise<number | undefined> {
    try {
      return await this.#counts?.next(channel);
    } catch (cause) {
      const failure = new FabricError("platform.unavailable", "the count could not be kept", { cause });
      this.#host.guard(() => Promise.reject(failure))();
      throw failure;
    }
  }

  async find(_part: Part, key: string): Promise<Said | undefined> {
    const found = this.#platform.find(this.#self.account, key);
    return found === undefined ? undefined : { remoteId: found.id, at: found.at };
  }

  async history({ conversation, after, limit }: HistoryRequest): Promise<void> {
    const ref = parseRef(conversation);
    const channel = ref.kind === "channel" ? ref.remote.join("/") : "";
    let left = limit;
    for (let seq = seqOf(after); left > 0; seq++) {
      const entry = this.#platform.after(this.#self.account, seq);
      if (entry === undefined || entry.seq > this.#seq) return;
      if (entry.activity.channel !== channel) continue;
      for (const event of toEvents(entry, this.#self)) await this.#host.event(event);
      left -= 1;
    }
  }

  async roster(): Promise<readonly RosterEntry[]> {
    const { workspaceId, service, account } = this.#self;
    return this.#platform.channelsOf(account).map((channel) => ({
      ref: channelRef(workspaceId, service, channel.split("/")),
      name: channel,
      kind: "channel",
    }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close();
    await this.#reading;
  }

  #onDrop(): void {
    if (!this.#up) return;
    this.#up = false;
    this.#host.state({
      state: "transient_disconnect",
      message: "The echo platform closed the connection; it is connected again.",
    });
    setTimeout(
      this.#host.guard(() => this.#comeUp()),
      this.#awayMs,
    );
  }

  #comeUp(): void {
    if (this.#closing.signal.aborted) return;
    this.#up = true;
    this.#host.state({ state: "connected", message: "Connected to the echo platform." });
    this.#wake();
  }

  /** One event after another; while the kit does not take one, nothing is read. */
  async #read(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const entry = this.#up ? this.#platform.after(this.#self.account, this.#seq) : undefined;
      if (entry === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      try {
        for (const event of toEvents(entry, this.#self)) await this.#host.event(event);
        this.#seq = entry.seq;
      } catch (error) {
        if (!this.#host.signal.aborted) this.#host.log.error({ event: "echo.unread", err: error });
        return;
      }
    }
  }

  #close(): void {
    this.#closing.abort();
    this.#endListening();
    this.#up = false;
    this.#wake();
  }
}
