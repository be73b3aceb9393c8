/**
 * Three core workers, two daemons of one service, RabbitMQ and PostgreSQL: the workers share the work, and killing
 * each process once changes nothing in what both sides hear.
 */
import { channelRef, partitionOf } from "@linkspan/envelopes";
import { afterEach, beforeEach, expect, test } from "vitest";
import { IrcPeer } from "../peers/irc/peer.ts";
import { describeWithServers } from "../servers/available.ts";
import { type NgircdServer, startNgircd } from "../servers/ngircd.ts";
import { startPostgres } from "../servers/postgres.ts";
import { startRabbitmq } from "../servers/rabbitmq.ts";
import { until } from "../servers/until.ts";
import { answers, type CoreWorker, newDaemon, type Process, startCoreWorker } from "./fabric.ts";
import { type Away, checkIn, checkOut } from "./histories.ts";
import { SHORT } from "./length.ts";
import { backendTalks, type Linked, linkIrc, outcomes, peerTalks } from "./talk.ts";

const COUNT = Math.ceil(SHORT / 2);
const PARTITIONS = 8;
const PEER_EVERY_MS = 20;
const MINUTES = 60_000;
/** Of the messages, before anything is killed. */
const UNDISTURBED = 0.4;

/** One channel in each partition, so that an equal share of partitions is an equal share of messages. */
function channelsOf(name: string): string[] {
  const channels = new Map<number, string>();
  for (let i = 0; channels.size < PARTITIONS; i++) {
    const channel = `#${name}${i}`;
    const partition = partitionOf(channelRef("default", "irc", ["test", channel]), PARTITIONS);
    if (!channels.has(partition)) channels.set(partition, channel);
  }
  return [...channels.values()];
}

const PEOPLE: readonly Linked[] = ["primary", "second"].map((instance) => ({
  nick: `linked-${instance}`,
  user: `user-${instance}`,
  instance,
  channels: channelsOf(instance),
  mark: `${instance} `,
}));

describeWithServers(["ngircd", "postgres", "rabbitmq"], "three workers, two daemons", () => {
  let stack: AsyncDisposableStack;
  let irc: NgircdServer;
  let peer: IrcPeer;
  let workers: CoreWorker[];
  let daemons: Process[];

  beforeEach(async () => {
    stack = new AsyncDisposableStack();
    irc = stack.use(await startNgircd());
    peer = stack.use(await IrcPeer.connect({ port: irc.port, nick: "peer" }));
    for (const { channels } of PEOPLE) for (const channel of channels) await peer.join(channel);
    const [postgres, rabbitmq] = await Promise.all([startPostgres(), startRabbitmq()]);
    stack.use(postgres);
    stack.use(rabbitmq);
    const url = await rabbitmq.vhost("main");
    const databaseUrl = await postgres.createDatabase("workers");
    const first = stack.use(await startCoreWorker(url, databaseUrl));
    workers = [
      first,
      stack.use(await startCoreWorker(url, databaseUrl, first)),
      stack.use(await startCoreWorker(url, databaseUrl, first)),
    ];
    daemons = [];
    for (const { instance } of PEOPLE) {
      const daemon = stack.use(await newDaemon(first.client, first.data, first.env, { instance }));
      await daemon.start();
      daemons.push(daemon);
    }
  });
  afterEach(() => stack.disposeAsync());

  async function stored({ client }: CoreWorker): Promise<number> {
    const text = await (await fetch(`${client.url}/metrics`)).text();
    const counts = [...text.matchAll(/^linkspan_events_total\{outcome="stored",service="irc"\} (\d+)$/gm)];
    return counts.reduce((sum, [, count]) => sum + Number(count), 0);
  }

  const backSince = ({ nick, channels }: Linked, sinceMs: number) =>
    channels.every((channel) =>
      peer.presence.some(
        (one) =>
          one.nick === nick && one.channel === channel && one.change === "joined" && one.atMs > sinceMs,
      ),
    );

  async function killDaemon(at: number): Promise<Away> {
    const [daemon, person] = [daemons[at] as Process, PEOPLE[at] as Linked];
    const away = { fromMs: performance.now(), toMs: Number.POSITIVE_INFINITY };
    await daemon.kill();
    await daemon.start();
    await until(() => backSince(person, away.fromMs), {
      what: "the identity to be back",
      timeoutMs: 2 * MINUTES,
    });
    away.toMs = performance.now();
    return away;
  }

  test("work is shared, and kills change nothing", { timeout: 20 * MINUTES }, async () => {
    const [first] = workers as [CoreWorker, ...CoreWorker[]];
    const identities: string[] = [];
    for (const person of PEOPLE) identities.push(await linkIrc(first.client, peer, irc.port, person));
    const said = () => peer.heard.filter((line) => line.text.includes(" out ")).length;
    const at = (share: number) =>
      until(() => said() >= COUNT * PEOPLE.length * share, {
        what: `${share * 100} % to be out`,
        timeoutMs: 8 * MINUTES,
      });
    const disturb = async (): Promise<Away[][]> => {
      const before = await Promise.all(workers.map(stored));
      await at(UNDISTURBED);
      const shares = (await Promise.all(workers.map(stored))).map((count, i) => count - (before[i] ?? 0));
      const all = shares.reduce((sum, share) => sum + share, 0);
      console.info(`events taken in by each worker: ${shares.join(", ")}`);
      for (const share of shares) expect(share).toBeGreaterThanOrEqual(all / workers.length / 2);
      for (const worker of workers.toReversed()) {
        await worker.process.kill();
        await worker.process.start();
        await answers(worker.client);
      }
      const away: Away[][] = [];
      for (const place of PEOPLE.keys()) away.push([await killDaemon(place)]);
      return away;
    };
    const disturbing = disturb();
    const talks = PEOPLE.map(async (person, i) => {
      const [spoken, ids] = await Promise.all([
        peerTalks(peer, person, COUNT, PEER_EVERY_MS * PEOPLE.length),
        backendTalks(first.client, identities[i] as string, person, COUNT),
      ]);
      return { person, spoken, ids };
    });
    const [away] = await Promise.all([disturbing, ...talks]);
    for (const [i, talk] of talks.entries()) {
      const { person, spoken, ids } = await talk;
      const states = await outcomes(first.client, ids, 8 * MINUTES);
      await peer.settled();
      checkOut(person.nick, peer, person, states);
      await checkIn(person.nick, first.client, peer, person, spoken, away[i] ?? []);
    }
  });
});
