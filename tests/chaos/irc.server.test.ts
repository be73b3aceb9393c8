/**
 * Messages each way between a plain IRC client and a linked identity, while core, daemon, broker and database are
 * killed with SIGKILL once each (1,000 with a cluster on InspIRCd, 300 else; `npm run chaos` says 5,000 for all).
 * Afterwards the two histories are compared:
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
import { startPostgres } from "../servers/postgres.ts";
import { startRabbitmq } from "../servers/rabbitmq.ts";
import type { Server } from "../servers/server.ts";
import { until } from "../servers/until.ts";
import { answers, type Fabric, startCluster, startEmbedded } from "./fabric.ts";
import { type Away, checkIn, checkOut } from "./histories.ts";
import { LONG, SHORT } from "./length.ts";
import { backendTalks, linkIrc, NICK, onlyLinked, outcomes, peerTalks } from "./talk.ts";

const CHANNELS = Array.from({ length: 10 }, (_, i) => `#chaos${i}`);
const LINKED = onlyLinked(CHANNELS);
const PEER_EVERY_MS = 20;
const MINUTES = 60_000;

type IrcServer = Server & { readonly port: number };
const ircServers: [name: "inspircd" | "ngircd", start: () => Promise<IrcServer>][] = [
  ["inspircd", () => startInspircd()],
  ["ngircd", () => startNgircd()],
];

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

    async function talk(
      fabric: Fabric,
      count: number,
      breakThings: (at: (share: number) => Promise<void>) => Promise<Away[]>,
    ) {
      const identity = await linkIrc(fabric.client, peer, irc.port, LINKED);
      const heard = () =>
        peer.lines.filter((line) => line.command === "PRIVMSG" && line.from === NICK).length;
      const at = (share: number) =>
        until(() => heard() >= count * share, {
          what: `${share * 100} % to be out`,
          timeoutMs: 8 * MINUTES,
        }).then(() => undefined);
      const [spoken, ids, away] = await Promise.all([
        peerTalks(peer, LINKED, count, PEER_EVERY_MS),
        backendTalks(fabric.client, identity, LINKED, count),
        breakThings(at),
      ]);
      const states = await outcomes(fabric.client, ids, 8 * MINUTES);
      await peer.settled();
      checkOut(name, peer, LINKED, states);
      await checkIn(name, fabric.client, peer, LINKED, spoken, away);
    }

    test("embedded: the process is killed twice, its database once", { timeout: 20 * MINUTES }, async () => {
      const fabric = stack.use(await startEmbedded());
      await talk(fabric, SHORT, async (at) => {
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
      const [postgres, rabbitmq] = await Promise.all([startPostgres(), startRabbitmq()]);
      stack.use(postgres);
      stack.use(rabbitmq);
      const fabric = stack.use(
        await startCluster(await rabbitmq.vhost("main"), await postgres.createDatabase("chaos")),
      );
      await rabbitmq.settle();
      await talk(fabric, name === "inspircd" ? LONG : SHORT, async (at) => {
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
