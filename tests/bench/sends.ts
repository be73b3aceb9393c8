/** The messages of the outbound benches, and a check that each was sent once and in its order. */
import { channelRef } from "@linkspan/envelopes";
import { WORKSPACE } from "./corpus.ts";

export const IDENTITIES = 100;
export const CONVERSATIONS = 1_000;

/** One message to send, by its number within a run. */
export interface Message {
  readonly key: string;
  readonly account: string;
  /** Name of the channel. */
  readonly channel: string;
  readonly text: string;
}

export const accountOf = (conversation: number): string => `bench-${conversation % IDENTITIES}`;

export function messageOf(run: string, n: number): Message {
  const conversation = n % CONVERSATIONS;
  return {
    key: `${run}.${n}`,
    account: accountOf(conversation),
    channel: `room ${conversation}`,
    text: `${run} ${Math.floor(n / CONVERSATIONS)} ${"some words that a person would say. ".repeat(4)}`,
  };
}

export const refOf = (channel: string): string => channelRef(WORKSPACE, "echo", [channel]);

/** Keeps the texts that were sent. @throws Error from `check` when a text is missing, came twice or out of its order */
export class SentTexts {
  readonly #byChannel = new Map<string, string[]>();
  #count = 0;

  add(channel: string, text: string): void {
    this.#byChannel.set(channel, [...(this.#byChannel.get(channel) ?? []), text]);
    this.#count += 1;
  }

  get count(): number {
    return this.#count;
  }

  check(run: string, count: number): void {
    const wanted = Map.groupBy(
      Array.from({ length: count }, (_, n) => messageOf(run, n)),
      ({ channel }) => channel,
    );
    for (const [channel, all] of wanted) {
      const sent = this.#byChannel.get(channel)?.join("|");
      if (sent !== all.map(({ text }) => text).join("|")) throw new Error(`${channel} received: ${sent}`);
    }
    if (this.#count !== count) throw new Error(`${this.#count} were sent instead of ${count}`);
  }
}
