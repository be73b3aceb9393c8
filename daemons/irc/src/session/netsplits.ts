/**
 * A netsplit makes every user behind a server quit, and join again when the servers are connected again: hundreds of lines, one event.
 *
 * A QUIT is of a split when it is in a batch that says so, or when its reason is nothing but two server names.
 * Nicknames lost that way are remembered for a while; when they join again, that is the netjoin. Each is
 * told once things have been quiet for a moment.
 */
import type { PlatformEvent } from "@linkspan/daemon-kit";
import { splitEvent, type Seen } from "../inbound.ts";
import type { Names } from "./names.ts";
import type { Timers } from "./timers.ts";

export type Servers = readonly [string, string];

export interface NetsplitsOptions {
  readonly names: Names;
  readonly emit: (events: readonly PlatformEvent[]) => void;
  readonly timers: Timers;
  /** Told after this long without more of the same, milliseconds. */
  readonly quietMs?: number;
  /** But never later than this. */
  readonly longestMs?: number;
}

interface Wave {
  readonly change: "netsplit" | "netjoin";
  readonly servers: Servers;
  readonly seen: Seen;
  readonly channels: Map<string, string[]>;
  readonly beganMs: number;
  cancel: () => void;
}

const SERVER = String.raw`[A-Za-z0-9*](?:[A-Za-z0-9-]*\.)+[A-Za-z]{2,}`;
const SPLIT = new RegExp(`^(${SERVER}) (${SERVER})$`);
const REMEMBERED = 20_000;
const REMEMBERED_MS = 30 * 60_000;

/** Two server names and nothing else; servers mark what users write themselves with `Quit: `. */
export function splitServers(reason: string): Servers | undefined {
  const [, left, right] = SPLIT.exec(reason) ?? [];
  return left === undefined || right === undefined || left === right ? undefined : [left, right];
}

export class Netsplits implements Disposable {
  readonly #options: Required<NetsplitsOptions>;
  readonly #waves = new Map<string, Wave>();
  /** `channel nick` to the split that took it. */
  readonly #lost = new Map<string, { readonly servers: Servers; readonly untilMs: number }>();

  constructor(options: NetsplitsOptions) {
    this.#options = { quietMs: 3_000, longestMs: 15_000, ...options };
  }

  /**
   * @param named servers of the batch that the quit is in, if it is in one
   * @returns whether the quit was taken as one of a split
   */
  quit(
    nick: string,
    named: readonly string[],
    reason: string,
    channels: readonly string[],
    seen: Seen,
  ): boolean {
    const [left, right] = named;
    const servers =
      left === undefined || right === undefined ? splitServers(reason) : ([left, right] as const);
    if (servers === undefined) return false;
    for (const channel of channels) {
      this.#remember(`${channel} ${nick}`, servers);
      this.#count("netsplit", servers, channel, nick, seen);
    }
    return true;
  }

  /** @returns whether the join was taken as one of a netjoin */
  join(nick: string, channel: string, seen: Seen): boolean {
    const key = `${channel} ${nick}`;
    const lost = this.#lost.get(key);
    this.#lost.delete(key);
    if (lost === undefined || lost.untilMs < this.#options.timers.monotonicMs()) return false;
    this.#count("netjoin", lost.servers, channel, nick, seen);
    return true;
  }

  [Symbol.dispose](): void {
    for (const wave of this.#waves.values()) wave.cancel();
    for (const key of this.#waves.keys()) this.#tell(key);
  }

  #remember(key: string, servers: Servers): void {
    this.#lost.set(key, { servers, untilMs: this.#options.timers.monotonicMs() + REMEMBERED_MS });
    if (this.#lost.size <= REMEMBERED) return;
    const [oldest] = this.#lost.keys();
    if (oldest !== undefined) this.#lost.delete(oldest);
  }

  #count(change: Wave["change"], servers: Servers, channel: string, nick: string, seen: Seen): void {
    const key = `${change} ${servers.join(" ")}`;
    const { quietMs, longestMs, timers } = this.#options;
    const nowMs = timers.monotonicMs();
    const known = this.#waves.get(key);
    const wave: Wave = known ?? {
      change,
      servers,
      seen,
      channels: new Map(),
      beganMs: nowMs,
      cancel: () => undefined,
    };
    this.#waves.set(key, wave);
    const nicks = wave.channels.get(channel);
    if (nicks === undefined) wave.channels.set(channel, [nick]);
    else nicks.push(nick);
    wave.cancel();
    const afterMs = Math.max(0, Math.min(quietMs, wave.beganMs + longestMs - nowMs));
    wave.cancel = timers.after(afterMs, () => this.#tell(key));
  }

  #tell(key: string): void {
    const wave = this.#waves.get(key);
    if (wave === undefined) return;
    this.#waves.delete(key);
    const { self } = this.#options.names;
    const { change, servers, seen, channels } = wave;
    this.#options.emit(
      [...channels].map(([channel, nicks]) => splitEvent(change, channel, nicks, servers, self, seen)),
    );
  }
}
