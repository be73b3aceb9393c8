/** What outlives one connection of an identity, as long as this process keeps it. */
import { isChannelName } from "../conversation.ts";
import { fold } from "../wire/casemapping.ts";
import { FloodGate } from "./flood-gate.ts";

/** A channel that we want to be in. */
export interface Wish {
  readonly name: string;
  readonly key: string | undefined;
}

/** Channels joined and left on request; absent where there are none. */
export interface Drift {
  readonly joined?: readonly string[];
  readonly left?: readonly string[];
}

const REMEMBERED_IDS = 4_096;

export class Memory {
  readonly gate: FloodGate;
  readonly #wishes = new Map<string, Wish>();
  /** Server ids of what has been handed over or was said here, so that a replay does not repeat it. */
  readonly #known = new Set<string>();
  /** Topics by folded channel: one that has not changed while we were away is no news. */
  readonly topics = new Map<string, string>();
  /** The moment up to which everything was seen, on the server's clock. */
  seenUntil: Date | undefined;
  /** Channels of the settings, as they are spelled there. */
  readonly #configured: readonly string[];
  #drift: Drift | undefined;

  /** @param checkpoint cursor of the last event that the core has */
  constructor(options: {
    readonly channels: readonly string[];
    readonly keyOf: (channel: string) => string | undefined;
    readonly pace: { readonly perSecond: number; readonly burst: number };
    readonly checkpoint: Readonly<Record<string, unknown>> | undefined;
  }) {
    const { channels, keyOf, pace, checkpoint = {} } = options;
    this.gate = new FloodGate(pace);
    this.#configured = channels;
    this.seenUntil = momentOf(checkpoint["server_time"]) ?? momentOf(checkpoint["at"]);
    for (const name of [...channels, ...namesIn(checkpoint["joined"])]) this.wish({ name, key: keyOf(name) });
    for (const name of namesIn(checkpoint["left"])) this.forget(name);
  }

  /**
   * What was joined and left since the settings were written. It goes along in every cursor, which is the one
   * thing that outlives this process.
   */
  get drift(): Drift {
    this.#drift ??= this.#compare();
    return this.#drift;
  }

  get wishes(): readonly Wish[] {
    return [...this.#wishes.values()];
  }

  wants(name: string): boolean {
    return this.#wishes.has(keyOf(name));
  }

  wish(wish: Wish): void {
    this.#drift = undefined;
    this.#wishes.set(keyOf(wish.name), wish);
  }

  forget(name: string): void {
    this.#drift = undefined;
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

function momentOf(time: unknown): Date | undefined {
  const moment = new Date(typeof time === "string" ? time : Number.NaN);
  return Number.isNaN(moment.getTime()) ? undefined : moment;
}

function namesIn(names: unknown): readonly string[] {
  if (!Array.isArray(names)) return [];
  return (names as readonly unknown[]).filter((name) => typeof name === "string").filter(isChannelName);
}

/** The coarsest folding: a wish is found whatever the server's is. */
function keyOf(name: string): string {
  return fold(name, "rfc1459");
}
