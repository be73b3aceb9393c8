/** State of an identity that outlives one connection, as long as this process runs. */
import type { Clock } from "@linkspan/daemon-kit";
import { isChannelName } from "../conversation.ts";
import type { Logins } from "../logins.ts";
import { fold } from "../wire/casemapping.ts";
import { FloodGate } from "./flood-gate.ts";
import { OwnSends } from "./own-sends.ts";
import { Spellings } from "./spellings.ts";

/** A channel that we want to be in. */
export interface Wish {
  readonly name: string;
  readonly key: string | undefined;
}

/** State that another process needs beside the position in the event stream; absent fields are empty. */
export interface Drift {
  /** Channels joined and left on request. */
  readonly joined?: readonly string[];
  readonly left?: readonly string[];
  /** Names that cannot be written as their references fold them. */
  readonly spelled?: readonly string[];
  /** Digests of the messages that were sent from here last. */
  readonly said?: readonly string[];
}

const REMEMBERED_IDS = 4_096;
const MAX_CLOCK_AHEAD_MS = 24 * 60 * 60 * 1_000;

export class Memory {
  readonly gate: FloodGate;
  readonly #wishes = new Map<string, Wish>();
  /** Server ids of what has been handed over or was said here, so that a replay does not repeat it. */
  readonly #known = new Set<string>();
  /** Digests of topics by folded channel: one that has not changed while we were away makes no event. */
  readonly topics = new Map<string, string>();
  readonly logins: Logins;
  readonly spellings: Spellings;
  readonly ownSends: OwnSends;
  #seenUntil: Date | undefined;
  /** Channels of the settings, as they are spelled there. */
  readonly #configured: readonly string[];
  #changes: Drift | undefined;

  /** @param checkpoint cursor of the last event that the core has */
  constructor(options: {
    readonly channels: readonly string[];
    readonly keyOf: (channel: string) => string | undefined;
    readonly pace: { readonly perSecond: number; readonly burst: number };
    readonly checkpoint: Readonly<Record<string, unknown>> | undefined;
    readonly identityId: string;
    readonly clock: Clock;
  }) {
    const { channels, keyOf, pace, identityId, clock, checkpoint = {} } = options;
    this.gate = new FloodGate(pace, clock);
    this.#configured = channels;
    // Who has a checkpoint was connected before, with this login.
    this.logins = { hasWorked: options.checkpoint !== undefined, refusals: 0 };
    this.spellings = new Spellings(textsIn(checkpoint["spelled"]));
    this.ownSends = new OwnSends(identityId, textsIn(checkpoint["said"]));
    const at = momentOf(checkpoint["at"]);
    const told = momentOf(checkpoint["server_time"]);
    this.#seenUntil = at === undefined ? told : believed(told, at);
    for (const name of [...channels, ...namesIn(checkpoint["joined"])]) this.wish({ name, key: keyOf(name) });
    for (const name of namesIn(checkpoint["left"])) this.forget(name);
  }

  /**
   * Channels joined and left since the settings were written, and texts and names to recognise later. It goes along in
   * every cursor, which is the one thing that outlives this process.
   */
  get drift(): Drift {
    this.#changes ??= this.#compare();
    const [spelled, said] = [this.spellings.kept, this.ownSends.kept];
    return {
      ...this.#changes,
      ...(spelled.length > 0 && { spelled }),
      ...(said.length > 0 && { said }),
    };
  }

  /** The moment up to which everything was seen, on the server's clock; undefined before anything was. */
  get seenUntil(): Date | undefined {
    return this.#seenUntil;
  }

  /**
   * A line came. What is replayed is older and takes nothing back; a clock that is wrong by more than a day is not
   * followed, or all that is said until then would count as seen.
   */
  seen(told: Date | undefined, receivedAt: Date): void {
    const at = believed(told, receivedAt);
    if (this.#seenUntil === undefined || at > this.#seenUntil) this.#seenUntil = at;
  }

  get wishes(): readonly Wish[] {
    return [...this.#wishes.values()];
  }

  /** Whether two names mean one channel, whatever the server's rules are. */
  isSame(a: string, b: string): boolean {
    return keyOf(a) === keyOf(b);
  }

  wants(name: string): boolean {
    return this.#wishes.has(keyOf(name));
  }

  /** The key of a channel that is wanted. */
  keyOf(name: string): string | undefined {
    return this.#wishes.get(keyOf(name))?.key;
  }

  wish(wish: Wish): void {
    this.#changes = undefined;
    this.#wishes.set(keyOf(wish.name), wish);
  }

  forget(name: string): void {
    this.#changes = undefined;
    this.#wishes.delete(keyOf(name));
  }

  /** @returns whether it is new */
  learn(id: string): boolean {
    if (this.#known.has(id)) return false;
    this.#known.add(id);
    if (this.#known.size > REMEMBERED_IDS) {
      const [oldest] = this.#known;
      if (oldest !== undefined) this.#known.delete(oldest);
    }
    return true;
  }

  #compare(): Drift {
    const configured = new Set(this.#configured.map(keyOf));
    const joined = this.wishes.map(({ name }) => name).filter((name) => !configured.has(keyOf(name)));
    const left = this.#configured.filter((name) => !this.wants(name));
    return { ...(joined.length > 0 && { joined }), ...(left.length > 0 && { left }) };
  }
}

/** The server's time, unless it lies further ahead of ours than clocks do. */
function believed(told: Date | undefined, receivedAt: Date): Date {
  const isAhead = told !== undefined && told.getTime() - receivedAt.getTime() > MAX_CLOCK_AHEAD_MS;
  return told === undefined || isAhead ? receivedAt : told;
}

function momentOf(time: unknown): Date | undefined {
  const moment = new Date(typeof time === "string" ? time : Number.NaN);
  return Number.isNaN(moment.getTime()) ? undefined : moment;
}

function namesIn(names: unknown): readonly string[] {
  return textsIn(names).filter(isChannelName);
}

function textsIn(texts: unknown): readonly string[] {
  if (!Array.isArray(texts)) return [];
  return (texts as readonly unknown[]).filter((text) => typeof text === "string");
}

/** The coarsest folding: a wish is found whatever the server's is. */
function keyOf(name: string): string {
  return fold(name, "rfc1459");
}
