/** The two histories compared after a chaos run: what was said on one side with what was heard on the other. */
import type { Client } from "@linkspan/compose";
import { expect } from "vitest";
import type { IrcPeer } from "../peers/irc/peer.ts";
import { until } from "../servers/until.ts";
import { type Linked, received, type Spoken } from "./talk.ts";

const MINUTES = 60_000;
/** What a daemon may have read and not yet handed over when it was killed. */
const IN_HAND_MS = 500;
/** What is said and a QUIT may cross on the server's way to the peer. */
const CROSSING_MS = 100;

/** From the kill of the identity's process until the peer saw it back in its channels. */
export interface Away {
  readonly fromMs: number;
  toMs: number;
}

/**
 * Every intent ended as sent, heard exactly once, or as uncertain, heard at most once; in order.
 *
 * @param kills how often a process that says things was killed: each leaves at most one in doubt per conversation
 */
export function checkOut(
  name: string,
  peer: IrcPeer,
  { nick, mark, channels }: Linked,
  states: readonly string[],
  kills = 2,
): void {
  const prefix = `${mark}out `;
  const times = new Map<number, number>();
  const last = new Map<string, number>();
  for (const line of peer.heard) {
    if (line.from !== nick || !line.text.startsWith(prefix)) continue;
    const number = Number(line.text.slice(prefix.length));
    times.set(number, (times.get(number) ?? 0) + 1);
    expect(number, `order in ${line.target}`).toBeGreaterThan(last.get(line.target) ?? -1);
    last.set(line.target, number);
  }
  const tally: Record<string, number> = {};
  for (const [number, state] of states.entries()) {
    tally[state] = (tally[state] ?? 0) + 1;
    const heard = times.get(number) ?? 0;
    if (state === "sent") expect(heard, `intent ${number} is sent`).toBe(1);
    else {
      expect(state, `intent ${number}`).toBe("uncertain");
      expect(heard, `intent ${number} is uncertain`).toBeLessThanOrEqual(1);
    }
  }
  expect(tally.uncertain ?? 0).toBeLessThanOrEqual(kills * channels.length);
  console.info(`${name} out: ${JSON.stringify(tally)}`);
}

/** Every line that the peer said while it saw the identity there is an event, once, in its channel's order. */
export async function checkIn(
  name: string,
  client: Client,
  peer: IrcPeer,
  linked: Linked,
  spoken: readonly Spoken[],
  away: readonly Away[],
): Promise<void> {
  const { nick, mark, channels } = linked;
  const seen = (channel: string, atMs: number) => peer.wasThere(nick, channel, atMs);
  const absent = ({ channel, atMs }: Spoken) =>
    !seen(channel, atMs - CROSSING_MS) ||
    !seen(channel, atMs + CROSSING_MS) ||
    away.some(({ fromMs, toMs }) => atMs > fromMs - IN_HAND_MS && atMs < toMs);
  let missing = spoken.filter((said) => !absent(said));
  const complete = async () => {
    const texts = new Set(await received(client, linked));
    missing = missing.filter(({ text }) => !texts.has(text));
    return missing.length === 0;
  };
  await until(complete, { what: "everything owed", timeoutMs: 2 * MINUTES, everyMs: 500 }).catch(
    () => undefined,
  );
  const whenMissing = missing.map(({ text, atMs }) => `${text} at ${Math.round(atMs)}`);
  const presence = presenceOf(peer, linked);
  expect(whenMissing, `away ${JSON.stringify(away)}, presence ${JSON.stringify(presence)}`).toEqual([]);
  const texts = await received(client, linked);
  expect(new Set(texts).size).toBe(texts.length);
  for (const [lane] of channels.entries()) {
    const numbers = texts
      .map((text) => Number(text.slice(mark.length + 3)))
      .filter((number) => number % channels.length === lane);
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
  }
  console.info(
    `${name} in: ${texts.length} of ${spoken.length}, ${spoken.length - texts.length} said while it was away`,
  );
}

/** When the identity came and went, as the peer saw it. */
function presenceOf(peer: IrcPeer, { nick, channels }: Linked): string[] {
  return peer.presence
    .filter((one) => one.nick === nick && (one.channel === channels[0] || one.channel === undefined))
    .map(({ change, how, atMs }) => `${change} ${how} ${Math.round(atMs)}`);
}
