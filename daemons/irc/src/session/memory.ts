/** What outlives one connection of an identity, as long as this process keeps it. */
import { fold } from "../wire/casemapping.ts";
import { FloodGate } from "./flood-gate.ts";

/** A channel that we want to be in. */
export interface Wish {
  readonly name: string;
  readonly key: string | undefined;
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

  constructor(
    wishes: readonly Wish[],
    pace: { readonly perSecond: number; readonly burst: number },
    seenUntil: Date | undefined,
  ) {
    this.gate = new FloodGate(pace);
    this.seenUntil = seenUntil;
    for (const wish of wishes) this.wish(wish);
  }

  get wishes(): readonly Wish[] {
    return [...this.#wishes.values()];
  }

  wants(name: string): boolean {
    return this.#wishes.has(keyOf(name));
  }

  wish(wish: Wish): void {
    this.#wishes.set(keyOf(wish.name), wish);
  }

  forget(name: string): void {
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
}

/** The coarsest folding: a wish is found whatever the server's is. */
function keyOf(name: string): string {
  return fold(name, "rfc1459");
}
