/**
 * Two people talking over IRC while things break: one on a plain client, one through the fabric. What each
 * said is remembered, and afterwards compared with what the other heard.
 */
import { setTimeout as pause } from "node:timers/promises";
import { channelRef, CODES, type ErrorCode, isFabricError } from "@linkspan/envelopes";
import type { Client } from "@linkspan/compose";
import type { IrcPeer } from "../peers/irc/peer.ts";
import { until } from "../servers/until.ts";

export const NICK = "linked";
export const USER = "user-1";

/** Who talks through the fabric; `mark` starts each of its lines and those that are said to it. */
export interface Linked {
  readonly nick: string;
  readonly user: string;
  readonly instance: string;
  readonly channels: readonly string[];
  readonly mark: string;
}

/** The only one, on the default instance. */
export function onlyLinked(channels: readonly string[]): Linked {
  return { nick: NICK, user: USER, instance: "primary", channels, mark: "" };
}

const WORKSPACE = "default";
const NETWORK = "test";

/** Links the identity and waits until it sits in every channel. */
export async function linkIrc(
  client: Client,
  peer: IrcPeer,
  port: number,
  { nick, user, instance, channels }: Linked,
): Promise<string> {
  // The daemon's announcement may be on its way.
  const opened = await insist(() =>
    client.send<{ data: { id: string } }>("POST", "/api/bridges/irc/sessions", { user_id: user, instance }),
  );
  const credentials = {
    network: NETWORK,
    host: "127.0.0.1",
    port,
    tls: false,
    nick,
    channels: channels.join(","),
    pace: { perSecond: 5_000, burst: 5_000 },
  };
  const id = opened.data.id;
  await client.send("POST", `/api/bridges/irc/sessions/${id}/credentials`, { credentials });
  const linked = async () => {
    const { data } = await client.get<{ data: { state: string; metadata: unknown } }>(
      `/api/bridges/sessions/${id}`,
    );
    if (data.state === "failed") throw new Error(`linking failed: ${JSON.stringify(data.metadata)}`);
    return data.state === "linked";
  };
  await until(linked, { what: "the account to be linked" });
  for (const channel of channels) await peer.sees(nick, channel, 60_000);
  const { identities } = await client.get<{ identities: { id: string; user_id: string }[] }>(
    "/v1/identities",
  );
  return identities.find((identity) => identity.user_id === user)?.id as string;
}

export interface Spoken {
  readonly channel: string;
  readonly text: string;
  /** `performance.now()` when it left. */
  readonly atMs: number;
}

/** The peer says `count` numbered lines, in turn over the channels, one every `everyMs`. */
export async function peerTalks(
  peer: IrcPeer,
  { channels, mark }: Linked,
  count: number,
  everyMs: number,
): Promise<Spoken[]> {
  const spoken: Spoken[] = [];
  for (let i = 0; i < count; i++) {
    const channel = channels[i % channels.length] as string;
    const text = `${mark}in ${i}`;
    await peer.say(channel, text);
    spoken.push({ channel, text, atMs: performance.now() });
    await pause(everyMs);
  }
  return spoken;
}

/** The backend submits `count` numbered intents; a failed call is repeated with the same key. @returns ids by number */
export async function backendTalks(
  client: Client,
  identityId: string,
  { user, channels, mark }: Linked,
  count: number,
): Promise<string[]> {
  const ids: string[] = new Array<string>(count);
  const submit = async (lane: number) => {
    for (let i = lane; i < count; i += channels.length) {
      const body = {
        identity_id: identityId,
        user_id: user,
        conversation: channelRef(WORKSPACE, "irc", [NETWORK, channels[lane] as string]),
        payload: { text: `${mark}out ${i}` },
      };
      const key = { "idempotency-key": `chaos-${user}-${i}` };
      ids[i] = await insist(
        async () => (await client.send<{ id: string }>("POST", "/v1/intents", body, key)).id,
      );
    }
  };
  await Promise.all(channels.map((_, lane) => submit(lane)));
  return ids;
}

/** As a backend would: an answer that did not come is asked for again. */
export async function insist<T>(work: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + 120_000;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const passing = isFabricError(error) ? isPassing(error.code) : true;
      if (!passing || performance.now() > deadline) throw error;
      await pause((isFabricError(error) && error.retryAfterMs) || 100);
    }
  }
}

/** A limit is kept to, an outage waited out; whatever the bus says may have been said in the middle of one. */
function isPassing(code: ErrorCode): boolean {
  return CODES[code].retry !== "never" || code.startsWith("bus.");
}

/** Final state of every intent, by number. */
export async function outcomes(client: Client, ids: readonly string[], timeoutMs: number): Promise<string[]> {
  const states: string[] = new Array<string>(ids.length).fill("queued");
  const open = () =>
    states.flatMap((state, i) => (["recorded", "queued", "attempting"].includes(state) ? [i] : []));
  const settled = async () => {
    for (const i of open().slice(0, 200)) {
      states[i] = await insist(
        async () => (await client.get<{ state: string }>(`/v1/intents/${ids[i]}`)).state,
      );
    }
    return open().length === 0;
  };
  await until(settled, { what: "every intent to be settled", timeoutMs, everyMs: 200 });
  return states;
}

interface Page {
  readonly events: {
    readonly envelope: { readonly payload: { readonly kind: string; readonly text?: string } };
  }[];
  readonly next_cursor: number;
}

/** Texts of all messages that came in with this mark, by position. */
export async function received(client: Client, { mark }: Linked): Promise<string[]> {
  const texts: string[] = [];
  for (let cursor = 0; ; ) {
    const page = await insist(() => client.get<Page>(`/v1/events?cursor=${cursor}&limit=1000`));
    if (page.events.length === 0) return texts;
    for (const { envelope } of page.events) {
      const { kind, text } = envelope.payload;
      if (kind === "message" && text?.startsWith(`${mark}in `)) texts.push(text);
    }
    cursor = page.next_cursor;
  }
}
