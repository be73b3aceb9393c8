/**
 * Messages each way (1,000; `npm run chaos` says 5,000) between a plain IRC client and a linked identity, while core, daemon, broker and
 * database are killed with SIGKILL once each. Afterwards the two histories are compared:
 *
 * - in: every line that the peer said while it saw the identity there is an event, once, in its channel's order.
 *   What IRC loses while a client is away is counted apart: after a kill, and while a broker is down for longer
 *   than a lease lasts, because then the daemon must hang up. Plain IRC confirms nothing, so what a killed daemon
 *   had read and not yet handed over is lost with it; that is bounded to its last moment.
 * - out: every intent ends as sent, heard exactly once, or as uncertain, heard at most once; in order.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { IrcPeer } from "../peers/irc/peer.ts";
import { describeWithServers } from "../servers/available.ts";
import { startInspircd } from "../servers/inspircd.ts";
import { startNgircd } from "../servers/ngircd.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { type RabbitmqServer, startRabbitmq } from "../servers/rabbitmq.ts";
import type { Server } from "../servers/server.ts";
import { until } from "../servers/until.ts";
import { answers, type Fabric, startCluster, startEmbedded } from "./fabric.ts";
import { backendTalks, linkIrc, NICK, outcomes, peerTalks, received, type Spoken } from "./talk.ts";

const COUNT = Number(process.env.CHAOS_MESSAGES ?? 1_000);
const CHANNELS = Array.from({ length: 10 }, (_, i) => `#chaos${i}`);
const PEER_EVERY_MS = 20;
/** What a daemon may have read and not yet handed over when it was killed. */
const IN_HAND_MS = 500;
const MINUTES = 60_000;

/** What is said and a QUIT may cross on the server's way to the peer. */
const CROSSING_MS = 100;

type IrcServer = Server & { readonly port: number };
const ircServers: [name: "inspircd" | "ngircd", start: () => Promise<IrcServer>][] = [
  ["inspircd", () => startInspircd()],
  ["ngircd", () => startNgircd()],
];

/** From the kill of the identity's process until the peer saw it back in its channels. */
interface Away {
  readonly fromMs: number;
  toMs: number;
}

describe.each(ircServers)("on %s", (name, startIrc) => {
  describeWithServers([name, "postgres", "rabbitmq"], "chaos", () => {
    let irc: IrcServer;
    let peer: IrcPeer;
    let stack: AsyncDisposableStack;

    beforeEach(async () => {
      stack = new AsyncDisposableStack();
      irc = stack.use(await startIrc());
      peer = stack.use(await IrcPeer.connect({ port: irc.port, nick: "peer" }));
      for (const channel of CHANNELS) await peer.join(channel);
    });
    afterEach(() => stack.disposeAsync());

    /** Kills the process that holds the connection; the identity is away until the peer sees it everywhere. */
    async function killDaemon(fabric: Fabric): Promise<Away> {
      const away = { fromMs: performance.now(), toMs: Number.POSITIVE_INFINITY };
      await fabric.daemon.kill();
      await fabric.daemon.start();
      await until(() => CHANNELS.every((channel) => backSince(channel, away.fromMs)), {
        what: "the identity to be back",
        timeoutMs: 2 * MINUTES,
      });
      away.toMs = performance.now();
      return away;
    }
    const backSince = (channel: string, sinceMs: number) =>
      peer.presence.some(
        (one) =>
          one.nick === NICK && one.channel === channel && one.change === "joined" && one.atMs > sinceMs,
      );

    /** When the identity came and went, as the peer saw it. */
    const presence = () =>
      peer.presence
        .filter((one) => one.nick === NICK && (one.channel === CHANNELS[0] || one.channel === undefined))
        .map(({ change, how, atMs }) => `${change} ${how} ${Math.round(atMs)}`);

    async function talk(
      fabric: Fabric,
      breakThings: (at: (share: number) => Promise<void>) => Promise<Away[]>,
    ) {
      const identity = await linkIrc(fabric.client, peer, irc.port, CHANNELS);
      const heard = () =>
        peer.lines.filter((line) => line.command === "PRIVMSG" && line.from === NICK).length;
      const at = (share: number) =>
        until(() => heard() >= COUNT * share, {
          what: `${share * 100} % to be out`,
          timeoutMs: 8 * MINUTES,
        }).then(() => undefined);
      const [spoken, ids, away] = await Promise.all([
        peerTalks(peer, CHANNELS, COUNT, PEER_EVERY_MS),
        backendTalks(fabric.client, identity, CHANNELS, COUNT),
        breakThings(at),
      ]);
      const states = await outcomes(fabric.client, ids, 8 * MINUTES);
      await peer.settled();
      checkOut(states);
      await checkIn(fabric, spoken, away);
    }

    function checkOut(states: readonly string[]): void {
      const times = new Map<number, number>();
      const last = new Map<string, number>();
      for (const line of peer.heard) {
        if (line.from !== NICK || !line.text.startsWith("out ")) continue;
        const number = Number(line.text.slice(4));
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
      // In doubt is only what was under way at a kill: at most one per conversation and kill.
      expect(tally.uncertain ?? 0).toBeLessThanOrEqual(2 * CHANNELS.length);
      console.info(`${name} out: ${JSON.stringify(tally)}`);
    }

    async function checkIn(fabric: Fabric, spoken: readonly Spoken[], away: readonly Away[]): Promise<void> {
      const seen = (channel: string, atMs: number) => peer.wasThere(NICK, channel, atMs);
      const absent = ({ channel, atMs }: Spoken) =>
        !seen(channel, atMs - CROSSING_MS) ||
        !seen(channel, atMs + CROSSING_MS) ||
        away.some(({ fromMs, toMs }) => atMs > fromMs - IN_HAND_MS && atMs < toMs);
      const owed = spoken.filter((said) => !absent(said));
      let missing = owed;
      const complete = async () => {
        const texts = new Set(await received(fabric.client));
        missing = missing.filter(({ text }) => !texts.has(text));
        return missing.length === 0;
      };
      await until(complete, { what: "everything owed", timeoutMs: 2 * MINUTES, everyMs: 500 }).catch(
        () => undefined,
      );
      const whenMissing = missing.map(({ text, atMs }) => `${text} at ${Math.round(atMs)}`);
      expect(whenMissing, `away ${JSON.stringify(away)}, presence ${JSON.stringify(presence())}`).toEqual([]);
      const texts = await received(fabric.client);
      expect(new Set(texts).size).toBe(texts.length);
      for (const [lane] of CHANNELS.entries()) {
        const numbers = texts
          .map((text) => Number(text.slice(3)))
          .filter((number) => number % CHANNELS.length === lane);
        expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
      }
      console.info(
        `${name} in: ${texts.length} of ${spoken.length}, ${spoken.length - texts.length} said while it was away`,
      );
    }

    test("embedded: the process is killed twice, its database once", { timeout: 20 * MINUTES }, async () => {
      const fabric = stack.use(await startEmbedded());
      await talk(fabric, async (at) => {
        await at(0.2);
        const first = await killDaemon(fabric);
        await at(0.5);
        process.kill(await databasePid(fabric), "SIGKILL");
        await at(0.7);
        return [first, await killDaemon(fabric)];
      });
      expect(await fabric.core.stop()).toBe(0);
    });

    test("cluster: core, daemon, broker and database are killed", { timeout: 20 * MINUTES }, async () => {
      const postgres: PostgresServer = stack.use(await startPostgres());
      const rabbitmq: RabbitmqServer = stack.use(await startRabbitmq());
      const fabric = stack.use(
        await startCluster(await rabbitmq.vhost("main"), await postgres.createDatabase("chaos")),
      );
      await rabbitmq.settle();
      await talk(fabric, async (at) => {
        await at(0.15);
        await fabric.core.kill();
        await fabric.core.start();
        await answers(fabric.client);
        await at(0.35);
        const away = await killDaemon(fabric);
        await at(0.55);
        await rabbitmq.kill();
        await rabbitmq.start();
        await at(0.75);
        await postgres.kill();
        await postgres.start();
        return [away];
      });
    });
  });
});

/** The postmaster that the all-in-one started, as its log tells. */
function databasePid(fabric: Fabric): Promise<number> {
  const started = fabric.core
    .log()
    .split("\n")
    .filter((line) => line.includes('"store.server.started"'))
    .map((line) => (JSON.parse(line) as { pid: number; postmaster?: number }).pid);
  return Promise.resolve(started.at(-1) ?? 0);
}
