/** What only a real RabbitMQ can do to the bus: crash, stop, block, refuse, and be configured otherwise. */
import { randomUUID } from "node:crypto";
import { Worker } from "node:worker_threads";
import {
  ACK,
  AmqpBus,
  type AmqpBusConfig,
  type BusEvent,
  DEAD_LETTERS,
  type Delivery,
  type Outgoing,
  type QueueSpec,
  type Verdict,
} from "@linkspan/fabric";
import { isFabricError } from "@linkspan/envelopes";
import { connect } from "amqplib";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type RabbitmqServer, startRabbitmq } from "../servers/rabbitmq.ts";
import { until } from "../servers/until.ts";

const QUEUE: QueueSpec = { name: "irc.work.p00", kind: "partition", bindings: [{ service: "irc" }] };
const ROUTE = { service: "irc", instance: "primary", action: "inbound_event", partition: 0 };

describeWithServers(["rabbitmq"], "the AMQP bus and its broker:", () => {
  let server: RabbitmqServer;
  beforeAll(async () => {
    server = await startRabbitmq({ tls: true });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  async function namespace(): Promise<string> {
    const vhost = randomUUID();
    await server.vhost(vhost);
    return vhost;
  }

  async function client(vhost: string, rest: Partial<AmqpBusConfig> = {}): Promise<AmqpBus> {
    const bus = await AmqpBus.connect({
      url: server.url,
      vhost,
      service: "irc",
      bootId: randomUUID(),
      ownsTopology: true,
      heartbeatSeconds: 1,
      connectTimeoutMs: 2_000,
      reconnect: { minMs: 50, maxMs: 500 },
      ...rest,
    });
    onTestFinished(() => bus[Symbol.asyncDispose]());
    return bus;
  }

  test("loses nothing confirmed and keeps the order of keys when the broker is killed", async () => {
    const vhost = await namespace();
    const [publisher, core] = [await client(vhost), await client(vhost)];
    await core.declare([QUEUE]);
    const seen: string[] = [];
    await core.subscribe(QUEUE, collecting(seen));
    // RabbitMQ 3.10 writes the name of a new quorum queue seconds later; killed before, it forgets the queue's log.
    await server.eval("ok = dets:sync(ra_directory_reverse)");
    const confirmed: string[] = [];
    const publishing = Array.from({ length: 3_000 }, async (_, at) => {
      const id = `${at % 5}:${at}`;
      await publisher.publish(message(id));
      confirmed.push(id);
    });
    await until(() => confirmed.length > 100, { what: "the first confirms" });
    await server.kill();
    const before = confirmed.length;
    await server.start();
    await Promise.all(publishing);
    expect(before).toBeLessThan(3_000);
    await until(() => new Set(seen).size === 3_000, { what: "every message" });
    for (let key = 0; key < 5; key++) {
      const numbers = [...new Set(seen)]
        .filter((id) => id.startsWith(`${key}:`))
        .map((id) => Number(id.slice(2)));
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    }
  });

  test("notices a broker that hangs, and goes on when it does", async () => {
    const vhost = await namespace();
    const bus = await client(vhost);
    await bus.declare([QUEUE]);
    const seen: string[] = [];
    await bus.subscribe(QUEUE, collecting(seen));
    process.kill(server.pid, "SIGSTOP");
    let waiting: Promise<void>;
    try {
      waiting = bus.publish(message("a"));
      await until(() => bus.health().state === "reconnecting", { what: "the bus to notice" });
    } finally {
      process.kill(server.pid, "SIGCONT");
    }
    await waiting;
    await until(() => seen.includes("a"), { what: "the message" });
    await until(() => bus.health().state === "up", { what: "the bus to be up" });
  });

  test("pauses while the broker blocks publishers, and still consumes", async () => {
    const vhost = await namespace();
    const bus = await client(vhost);
    await bus.declare([QUEUE]);
    await bus.publish(message("before"));
    await server.eval("vm_memory_monitor:set_vm_memory_high_watermark(0.00001)");
    onTestFinished(async () => {
      await server.eval("vm_memory_monitor:set_vm_memory_high_watermark(0.4)");
    });
    let done = 0;
    const publishes = ["1", "2"].map((id) => bus.publish(message(id)).then(() => done++));
    await until(() => bus.health().state === "blocked", { what: "the bus to be blocked" });
    const seen: string[] = [];
    await bus.subscribe(QUEUE, collecting(seen));
    await until(() => seen.includes("before"), { what: "the earlier message" });
    expect(done).toBe(0);
    await server.eval("vm_memory_monitor:set_vm_memory_high_watermark(0.4)");
    await Promise.all(publishes);
    await until(() => seen.length === 3, { what: "the others" });
    expect(seen).toEqual(["before", "1", "2"]);
    expect(bus.health().state).toBe("up");
  });

  test("dead-letters what came on a malformed routing key", async () => {
    const vhost = await namespace();
    const bus = await client(vhost);
    await bus.declare([QUEUE]);
    const [seen, dead]: [string[], Delivery[]] = [[], []];
    await bus.subscribe(QUEUE, collecting(seen));
    await bus.subscribe(
      DEAD_LETTERS,
      collecting([], (delivery) => void dead.push(delivery)),
    );
    await using raw = await rawChannel(vhost);
    const headers = { kid: "k", "death-code": "forged" };
    raw.channel.publish("bridge", "irc.PRIMARY.inbound_event.p00", Buffer.from([0, 1]), {
      headers,
      messageId: "m",
    });
    raw.channel.publish("bridge", "irc._.inbound_event.p7", Buffer.from("x"));
    await bus.publish(message("good"));
    await until(() => dead.length === 2 && seen.length === 1, { what: "both dead letters" });
    expect(dead[0]).toMatchObject({ kid: "k", messageId: "m" });
    expect(dead[0]?.death).toMatchObject({ code: "topic.malformed", queue: QUEUE.name });
    expect([...(dead[0]?.body ?? [])]).toEqual([0, 1]);
    await bus[Symbol.asyncDispose]();
    expect((await raw.channel.checkQueue(QUEUE.name)).messageCount).toBe(0);
  });

  test("does not take death headers or return addresses from anybody", async () => {
    const vhost = await namespace();
    const bus = await client(vhost);
    await bus.declare([QUEUE]);
    const seen: Delivery[] = [];
    await bus.subscribe(
      QUEUE,
      collecting([], (delivery) => void seen.push(delivery)),
    );
    await using raw = await rawChannel(vhost);
    const headers = {
      "death-code": "envelope.schema",
      kid: { nested: true },
      sig: 5,
      traceparent: "x".repeat(5_000),
    };
    const options = { headers, replyTo: "core._.submit_intent.p00", messageId: "m" };
    raw.channel.publish("bridge", "irc._.inbound_event.p00", Buffer.from("x"), options);
    await until(() => seen.length === 1, { what: "the message" });
    expect(seen[0]).toMatchObject({ death: undefined, replyTo: undefined, kid: undefined, sig: undefined });
    expect(seen[0]).toMatchObject({ traceparent: undefined, messageId: "m" });
  });

  test("a message with headers nested thousands deep ends no connection and holds nobody up", async () => {
    const vhost = await namespace();
    const events: BusEvent[] = [];
    const bus = await client(vhost, { listener: (event) => events.push(event) });
    await bus.declare([QUEUE]);
    const seen: Delivery[] = [];
    await bus.subscribe(
      QUEUE,
      collecting([], (delivery) => void seen.push({ ...delivery })),
    );
    await publishNested(`${server.url}/${vhost}`, 10_000);
    await bus.publish(message("next"));
    await until(() => seen.length === 2 || events.some(({ event }) => event === "bus.down"), {
      what: "both messages",
    });
    expect(seen[0]).toMatchObject({ kid: undefined, messageId: undefined });
    expect([Buffer.from(seen[0]?.body ?? []).toString(), seen[1]?.messageId]).toEqual(["nested", "next"]);
    expect(events.filter(({ event }) => event === "bus.down")).toEqual([]);
  });

  test("keeps a dead letter where it is until there is a place for it", async () => {
    const vhost = await namespace();
    const events: BusEvent[] = [];
    const bus = await client(vhost, {
      listener: (event) => events.push(event),
      patience: {
        outage: { minMs: 1, maxMs: 5 },
        alone: { minMs: 1, maxMs: 50 },
        proof: { failures: 3, overMs: 20 },
        reportAfter: 2,
      },
    });
    await bus.declare([QUEUE]);
    await using raw = await rawChannel(vhost);
    // Declared by the bus or bound by it, there is no place for a dead letter while it has no binding.
    await raw.channel.unbindQueue(DEAD_LETTERS.name, "bridge", "bridge.dead.*.*");
    await bus.subscribe(
      QUEUE,
      collecting([], () => ({ do: "dead", code: "envelope.schema" })),
    );
    await bus.publish(message("bad"));
    await until(() => events.some(({ event }) => event === "bus.fault"), { what: "the failed dead letter" });
    expect(events.some(({ event }) => event === "bus.dead_lettered")).toBe(false);
    await bus.declare([]);
    await until(() => events.some(({ event }) => event === "bus.dead_lettered"), { what: "the dead letter" });
    expect((await raw.channel.checkQueue(DEAD_LETTERS.name)).messageCount).toBe(1);
  });

  test("names the message that the broker refuses, and sends the others", async () => {
    const vhost = await namespace();
    const core = await client(vhost);
    await core.declare([QUEUE, { name: "core.q", kind: "shared", bindings: [{ service: "core" }] }]);
    const seen: string[] = [];
    await core.subscribe(QUEUE, collecting(seen));
    await server.eval(
      `ok = rabbit_auth_backend_internal:add_user(<<"${vhost}">>, <<"secret">>, <<"tests">>),
       ok = rabbit_auth_backend_internal:set_permissions(<<"${vhost}">>, <<"${vhost}">>, <<"^reply">>, <<"^(bridge$|reply)">>, <<".*">>, <<"tests">>),
       ok = rabbit_auth_backend_internal:set_topic_permissions(<<"${vhost}">>, <<"${vhost}">>, <<"bridge">>, <<"^irc\\\\.">>, <<".*">>, <<"tests">>)`,
    );
    const daemon = await client(vhost, { auth: { kind: "plain", user: vhost, password: "secret" } });
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, at) => {
        const forbidden = at === 7 || at === 13;
        const route = forbidden ? { ...ROUTE, service: "core" } : ROUTE;
        return outcome(daemon.publish({ ...message(`m${at}`), route }));
      }),
    );
    const expected = outcomes.map((_, at) => (at === 7 || at === 13 ? "bus.unroutable" : "confirmed"));
    expect(outcomes).toEqual(expected);
    await until(() => new Set(seen).size === 18, { what: "the others" });
    expect(await outcome(daemon.declare([QUEUE]))).toBe("bus.unavailable");
  });

  test("stamps the user that the connection signed in as, and no other", async () => {
    const vhost = await namespace();
    const [honest, liar] = [
      await client(vhost, { userId: "guest" }),
      await client(vhost, { userId: "core" }),
    ];
    await honest.declare([{ ...QUEUE, kind: "shared" }]);
    expect(await outcome(honest.publish(message("a")))).toBe("confirmed");
    expect(await outcome(liar.publish(message("b")))).toBe("bus.unroutable");
    await using raw = await rawChannel(vhost);
    const got = await raw.channel.get(QUEUE.name, { noAck: true });
    expect(got && got.properties.userId).toBe("guest");
  });

  test("lets several processes declare at once, and says which queue is another's", async () => {
    const vhost = await namespace();
    const clients = await Promise.all(Array.from({ length: 4 }, () => client(vhost)));
    const queues = Array.from({ length: 4 }, (_, at): QueueSpec => ({ ...QUEUE, name: `irc.p0${at}` }));
    await Promise.all(clients.map((bus) => bus.declare(queues)));
    const listed = await server.ctl(
      "list_queues",
      "-p",
      vhost,
      "--no-table-headers",
      "name",
      "type",
      "arguments",
    );
    expect(listed).toMatch(/irc\.p03\s+quorum\s.*x-single-active-consumer.*true/);
    expect(listed).not.toContain("x-delivery-limit"); // RabbitMQ 3: there is no limit unless one is set
    await using raw = await rawChannel(vhost);
    await raw.channel.assertQueue("classic", { durable: true });
    const [bus] = clients;
    const refused = bus?.declare([{ ...QUEUE, name: "classic" }]);
    await expect(refused).rejects.toMatchObject({ code: "bus.unavailable" });
    await expect(refused).rejects.toThrow(/queue classic exists with other arguments/);
  });

  test("replays what declared queues were sent, from an offset or the start, and still knows the unroutable", async () => {
    const vhost = await namespace();
    const replayBuffer = { maxBytes: 20_000_000, maxAgeSeconds: 3_600 };
    const bus = await client(vhost, { replayBuffer });
    await bus.declare([QUEUE]);
    const seen: string[] = [];
    await bus.subscribe(QUEUE, collecting(seen));
    const sent = Array.from({ length: 300 }, (_, at) => String(at));
    await Promise.all(sent.map((id) => bus.publish({ ...message(id), kid: "k" })));
    await until(() => seen.length === 300, { what: "every message" });
    expect(await outcome(bus.publish({ ...message("x"), route: { ...ROUTE, service: "nobody" } }))).toBe(
      "bus.unroutable",
    );

    const replayed = await all(bus.replay({ from: "first", limit: 300 }));
    expect(replayed.map(({ delivery }) => delivery.messageId)).toEqual(sent);
    expect(replayed[0]?.delivery).toMatchObject({ route: ROUTE, kid: "k" });
    const offset = replayed[250]?.offset ?? 0;
    const rest = await all(bus.replay({ from: { offset }, idleMs: 500 }));
    expect(rest.map(({ delivery }) => delivery.messageId)).toEqual(sent.slice(250));
    const since = await all(bus.replay({ from: { time: new Date(Date.now() - 60_000) }, limit: 1 }));
    expect(since).toHaveLength(1);

    const other = await client(await namespace());
    await other.declare([]);
    await expect(all(other.replay({ from: "first" }))).rejects.toMatchObject({
      code: "bus.unavailable",
    });
  });

  test("narrows its window for large messages instead of holding them all", async () => {
    const vhost = await namespace();
    const events: BusEvent[] = [];
    const bus = await client(vhost, { listener: (event) => events.push(event) });
    await bus.declare([QUEUE]);
    const body = new Uint8Array(200_000);
    const all = Array.from({ length: 60 }, (_, at) => String(at));
    await Promise.all(all.map((id) => bus.publish({ ...message(id), body })));
    const seen: string[] = [];
    await bus.subscribe(QUEUE, collecting(seen), { maxBytes: 1_000_000 });
    await until(() => new Set(seen).size === 60, { what: "every message" });
    expect([...new Set(seen)]).toEqual(all);
    const faults = events.flatMap((event) => (event.event === "bus.fault" ? [event.reason] : []));
    expect(faults.join()).toMatch(/the window is 1 now/);
  });

  test("the window recovers after one burst of large messages, in a quiet time and under load", async () => {
    const vhost = await namespace();
    const bus = await client(vhost);
    await bus.declare([QUEUE]);
    const body = new Uint8Array(200_000);
    const seen: string[] = [];
    await bus.subscribe(QUEUE, collecting(seen), { maxBytes: 1_000_000 });
    const burst = (prefix: string) =>
      Promise.all(Array.from({ length: 60 }, (_, at) => bus.publish({ ...message(`${prefix}${at}`), body })));
    const prefetch = async (): Promise<number> => {
      const listed = await server.ctl(
        "-q",
        "list_consumers",
        "-p",
        vhost,
        "--no-table-headers",
        "prefetch_count",
      );
      return Number(/\d+/.exec(listed)?.[0]);
    };
    await burst("quiet");
    await until(async () => (await prefetch()) < 20, { what: "the smaller window" });
    await until(async () => (await prefetch()) === 1_000, { what: "the full window after a quiet time" });
    await burst("busy");
    const small = Array.from({ length: 3_000 }, (_, at) => `small${at}`);
    await Promise.all(small.map((id) => bus.publish(message(id))));
    await until(() => seen.includes("small2999"), { what: "every message" });
    expect(await prefetch()).toBeGreaterThan(500);
    expect([...new Set(seen)].filter((id) => id.startsWith("small"))).toEqual(small);
  });

  test("what the broker takes back when the window changes comes again in its order", async () => {
    const vhost = await namespace();
    const bus = await client(vhost);
    await bus.declare([QUEUE]);
    const large = { body: new Uint8Array(200_000) };
    const ids = [
      ...Array.from({ length: 10 }, (_, at) => `small${at}`),
      ...Array.from({ length: 30 }, (_, at) => `large${at}`),
      ...Array.from({ length: 3_000 }, (_, at) => `later${at}`),
    ];
    await Promise.all(ids.map((id) => bus.publish({ ...message(id), ...(id.startsWith("large") && large) })));
    const seen: string[] = [];
    await bus.subscribe(QUEUE, collecting(seen), { maxBytes: 1_000_000 });
    await until(() => new Set(seen).size === ids.length, { what: "every message" });
    expect([...new Set(seen)]).toEqual(ids);
  });

  test("signs in by its certificate", async () => {
    const vhost = await namespace();
    const { tls } = server;
    if (tls === undefined) throw new Error("no TLS");
    const name = `daemon-${randomUUID()}`;
    const { cert, key } = await tls.client(name, [vhost]);
    const external = { url: tls.url, auth: { kind: "external" }, userId: name } as const;
    const bus = await client(vhost, { ...external, tls: { ca: tls.authority.ca, cert, key } });
    await bus.declare([QUEUE]);
    await bus.publish(message("a"));
    const untrusted = client(vhost, { ...external, tls: { cert, key } });
    await expect(untrusted).rejects.toMatchObject({ code: "bus.unavailable" });
    const anonymous = client(vhost, { ...external, tls: { ca: tls.authority.ca } });
    await expect(anonymous).rejects.toMatchObject({ code: "bus.unavailable" });
  });

  test("says at once when it cannot connect", async () => {
    const vhost = await namespace();
    const wrong = client(vhost, { auth: { kind: "plain", user: "guest", password: "wrong" } });
    await expect(wrong).rejects.toMatchObject({ code: "bus.unavailable" });
    await expect(wrong).rejects.not.toThrow(/wrong/);
    await expect(client("no-such-namespace")).rejects.toMatchObject({ code: "bus.unavailable" });
    const bus = await client(vhost);
    expect(await outcome(bus.subscribe(QUEUE, collecting([])))).toBe("bus.unavailable");
  });

  async function rawChannel(vhost: string) {
    const connection = await connect(`${server.url}/${vhost}`);
    const channel = await connection.createChannel();
    return { channel, [Symbol.asyncDispose]: () => connection.close() };
  }
});

/** Building it takes a larger stack than tests have. */
async function publishNested(url: string, depth: number): Promise<void> {
  const program = `
    const { workerData } = require("node:worker_threads");
    const { connect } = require("amqplib");
    let nested = [];
    for (let level = 0; level < workerData.depth; level++) nested = [nested];
    connect(workerData.url + "?frameMax=131072").then(async (connection) => {
      const channel = await connection.createConfirmChannel();
      channel.publish("bridge", "irc._.inbound_event.p00", Buffer.from("nested"), { headers: { kid: "k", nested } });
      await channel.waitForConfirms();
      await connection.close();
      process.exit(3);
    });`;
  const options = { eval: true, workerData: { url, depth }, resourceLimits: { stackSizeMb: 64 } };
  const worker = new Worker(program, options);
  await new Promise<void>((resolve, reject) => {
    worker
      .once("error", reject)
      .once("exit", (code) => (code === 3 ? resolve() : reject(new Error(`exit ${code}`))));
  });
}

function message(id: string): Outgoing {
  return { route: ROUTE, body: Buffer.from(`body of ${id}`), messageId: id };
}

function collecting(seen: string[], decide: (delivery: Delivery) => Verdict | void = () => ACK) {
  return {
    async handle(batch: readonly { readonly delivery: Delivery }[]): Promise<Verdict[]> {
      seen.push(...batch.map(({ delivery }) => delivery.messageId ?? ""));
      return batch.map(({ delivery }) => decide(delivery) ?? ACK);
    },
  };
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

function outcome(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "confirmed",
    (error: unknown) => (isFabricError(error) ? error.code : String(error)),
  );
}
