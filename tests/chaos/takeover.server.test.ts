/** Two processes asked to hold one instance: one does, the other waits, and takes over when the first is gone. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { IrcPeer } from "../peers/irc/peer.ts";
import { describeWithServers } from "../servers/available.ts";
import { type NgircdServer, startNgircd } from "../servers/ngircd.ts";
import { startPostgres } from "../servers/postgres.ts";
import { startRabbitmq } from "../servers/rabbitmq.ts";
import { until } from "../servers/until.ts";
import { type Fabric, newDaemon, type Process, startCluster } from "./fabric.ts";
import { linkIrc, NICK, onlyLinked } from "./talk.ts";

const CHANNEL = "#takeover";
const TAKEOVER_MS = 10_000;

interface Stored {
  readonly events: {
    readonly envelope: {
      readonly metadata: { readonly epoch?: number };
      readonly payload: { text?: string };
    };
  }[];
}

describeWithServers(["ngircd", "postgres", "rabbitmq"], "one instance, two processes", () => {
  let stack: AsyncDisposableStack;
  let irc: NgircdServer;
  let peer: IrcPeer;
  let fabric: Fabric;
  let second: Process;

  beforeAll(async () => {
    stack = new AsyncDisposableStack();
    irc = stack.use(await startNgircd());
    peer = stack.use(await IrcPeer.connect({ port: irc.port, nick: "peer" }));
    await peer.join(CHANNEL);
    const [postgres, rabbitmq] = await Promise.all([startPostgres(), startRabbitmq()]);
    stack.use(postgres);
    stack.use(rabbitmq);
    const url = await rabbitmq.vhost("main");
    fabric = stack.use(await startCluster(url, await postgres.createDatabase("takeover")));
    second = stack.use(await newDaemon(fabric.client, fabric.data, { LINKSPAN_AMQP_URL: url }));
    await linkIrc(fabric.client, peer, irc.port, onlyLinked([CHANNEL]));
  });
  afterAll(() => stack?.disposeAsync());

  const holds = (daemon: Process) => daemon.log().includes('"event":"term.begun"');
  const joins = () =>
    peer.presence.filter((one) => one.nick.startsWith(NICK) && one.change === "joined").length;
  const texts = async () => {
    const { events } = await fabric.client.get<Stored>("/v1/events?cursor=0&limit=1000");
    return events.map(({ envelope }) => ({ text: envelope.payload.text, epoch: envelope.metadata.epoch }));
  };
  const hears = async (text: string) => {
    await until(async () => (await texts()).some((event) => event.text === text), {
      what: `"${text}" to come in`,
    });
  };

  test("the second waits while the first holds", async () => {
    await second.start();
    await until(() => second.log().includes('"event":"lease.waiting"'), {
      what: "the second to be told to wait",
    });
    await peer.say(CHANNEL, "to the first");
    await hears("to the first");
    expect(holds(second)).toBe(false);
  });

  test("it takes over within 10 s of a SIGKILL", async () => {
    const before = joins();
    const killedAt = performance.now();
    await fabric.daemon.kill();
    await until(() => holds(second) && joins() > before, {
      what: "the second to take over",
      timeoutMs: 2 * TAKEOVER_MS,
    });
    expect(performance.now() - killedAt).toBeLessThan(TAKEOVER_MS);
    await peer.say(CHANNEL, "to the second");
    await hears("to the second");
  });

  test("what a frozen holder still sends after its time is refused", async () => {
    await fabric.daemon.start();
    second.signal("SIGSTOP");
    try {
      for (let i = 0; i < 50; i++) await peer.say(CHANNEL, `while frozen ${i}`);
      const before = joins();
      await until(() => joins() > before, {
        what: "the first to take over again",
        timeoutMs: 3 * TAKEOVER_MS,
      });
      await peer.say(CHANNEL, "to the first again");
      await hears("to the first again");
    } finally {
      second.signal("SIGCONT");
    }
    await until(() => second.log().includes('"event":"lease.left"'), {
      what: "the frozen one to notice",
      timeoutMs: TAKEOVER_MS,
    });
    await peer.say(CHANNEL, "after the thaw");
    await hears("after the thaw");
    const epochs = (await texts()).map(({ epoch }) => epoch ?? 0);
    expect(epochs).toEqual(epochs.toSorted((a, b) => a - b));
    expect(new Set(epochs).size).toBe(3);
  });
});
