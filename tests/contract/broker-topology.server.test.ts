/** What somebody deletes on the broker is declared again by itself, within seconds, and health says so meanwhile. */
import { type AmqpBus, DEAD_LETTERS, type Delivery, type QueueSpec } from "@linkspan/fabric";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type RabbitmqServer, startRabbitmq } from "../servers/rabbitmq.ts";
import { until } from "../servers/until.ts";
import {
  client,
  collecting,
  message,
  namespace,
  outcome,
  QUEUE,
  rawChannel,
  ROUTE,
} from "./broker-clients.ts";

const REQUESTS: QueueSpec = { name: "core.requests", kind: "shared", bindings: [{ service: "core" }] };
const HELLO = { service: "core", instance: "primary", action: "hello", partition: 0 };
const NOTES: QueueSpec = { name: "irc.notes", kind: "transient", bindings: [{ action: "changed" }] };

describeWithServers(["rabbitmq"], "broker topology gone:", () => {
  let server: RabbitmqServer;
  beforeAll(async () => {
    server = await startRabbitmq();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  async function setUp() {
    const vhost = await namespace(server);
    const states: string[] = [];
    const watching: { bus?: AmqpBus } = {};
    // Every event of the bus is a moment to look at its health.
    const listener = (): void => {
      if (watching.bus !== undefined) states.push(watching.bus.health().state);
    };
    const core = await client(server, vhost, { service: "core", listener });
    watching.bus = core;
    const daemon = await client(server, vhost, { service: "irc", ownsTopology: false });
    await core.declare([QUEUE, REQUESTS]);
    const raw = await rawChannel(`${server.url}/${vhost}`);
    return { core, daemon, raw, states, channel: raw.channel };
  }

  test("a queue deleted under its consumer", async () => {
    const { core, daemon, raw, states, channel } = await setUp();
    await using _raw = raw;
    const seen: string[] = [];
    await core.subscribe(QUEUE, collecting(seen));
    const startedAt = performance.now();
    await channel.deleteQueue(QUEUE.name);
    await until(() => states.includes("degraded"), { what: "health to say so" });
    await until(async () => (await outcome(daemon.publish(message("a")))) === "confirmed", {
      what: "the queue",
    });
    await until(() => seen.includes("a"), { what: "the message" });
    await until(() => core.health().state === "up", { what: "health to be well" });
    expect(performance.now() - startedAt).toBeLessThan(15_000);
  });

  test("a deleted exchange, with every binding", async () => {
    const { core, daemon, raw, states, channel } = await setUp();
    await using _raw = raw;
    const [seen, notes]: [string[], string[]] = [[], []];
    await core.subscribe(QUEUE, collecting(seen));
    await core.subscribe(NOTES, collecting(notes));
    await core.subscribe(REQUESTS, {
      async handle(batch) {
        for (const { delivery } of batch) {
          const answer = {
            route: HELLO,
            body: Buffer.from("x"),
            messageId: "re",
            inReplyTo: delivery.messageId ?? "",
          };
          await core.reply(delivery.replyTo ?? "", answer);
        }
        return batch.map(() => ({ do: "ack" }));
      },
    });
    await daemon.request({ ...message("before"), route: HELLO }, { timeoutMs: 10_000 });
    await channel.deleteExchange("bridge");
    const published = core.publish(message("a"));
    await until(() => states.includes("degraded"), { what: "health to say so" });
    await published;
    await until(() => seen.includes("a"), { what: "the message" });
    await until(() => core.health().state === "up", { what: "health to be well" });
    await until(
      async () => {
        await daemon.publish({
          ...message("note"),
          route: { ...HELLO, action: "changed" },
          mandatory: false,
        });
        return notes.length > 0;
      },
      { what: "a queue that lives with its subscriber to be bound again" },
    );
    let asked = 0;
    await until(
      async () => {
        const ask = { ...message(`after${asked++}`), route: HELLO };
        return (await outcome(daemon.request(ask, { timeoutMs: 1_000 }))) === "confirmed";
      },
      { what: "the reply queue to be bound again" },
    );
  });

  test("a removed binding", async () => {
    const { core, daemon, raw, channel } = await setUp();
    await using _raw = raw;
    const seen: string[] = [];
    await core.subscribe(QUEUE, collecting(seen));
    await channel.unbindQueue(QUEUE.name, "bridge", "irc.*.*.*");
    expect(await outcome(daemon.publish(message("lost")))).toBe("bus.unroutable");
    await until(async () => (await outcome(daemon.publish(message("a")))) === "confirmed", {
      what: "the binding",
    });
    await until(() => seen.includes("a"), { what: "the message" });
  });

  test("the deleted dead-letter queue, under its consumer", async () => {
    const { core, daemon, raw, channel } = await setUp();
    await using _raw = raw;
    const dead: Delivery[] = [];
    await core.subscribe(
      DEAD_LETTERS,
      collecting([], (delivery) => void dead.push({ ...delivery })),
    );
    await core.subscribe(
      QUEUE,
      collecting([], () => ({ do: "dead", code: "envelope.schema" })),
    );
    await channel.deleteQueue(DEAD_LETTERS.name);
    await daemon.publish(message("bad"));
    await until(() => dead.some(({ messageId }) => messageId === "bad"), { what: "the dead letter" });
    await until(() => core.health().state === "up", { what: "health to be well" });
  });

  test("a deleted reply queue, and one that lives with its subscriber", async () => {
    const { core, daemon, raw } = await setUp();
    await using _raw = raw;
    const notes: string[] = [];
    await daemon.subscribe(NOTES, collecting(notes));
    await core.subscribe(REQUESTS, {
      async handle(batch) {
        for (const { delivery } of batch) {
          const answer = {
            route: HELLO,
            body: Buffer.from("x"),
            messageId: "re",
            inReplyTo: delivery.messageId ?? "",
          };
          await core.reply(delivery.replyTo ?? "", answer);
        }
        return batch.map(() => ({ do: "ack" }));
      },
    });
    const ask = (id: string) =>
      outcome(daemon.request({ ...message(id), route: HELLO }, { timeoutMs: 2_000 }));
    expect(await ask("before")).toBe("confirmed");
    const deleted = await server.eval(
      `length([rabbit_amqqueue:delete_exclusive([amqqueue:get_pid(Q)], amqqueue:get_exclusive_owner(Q)) || Q <- rabbit_amqqueue:list(), amqqueue:get_exclusive_owner(Q) =/= none])`,
    );
    expect(Number(/\d+/.exec(deleted)?.[0])).toBeGreaterThanOrEqual(2);
    let asked = 0;
    await until(async () => (await ask(`after${asked++}`)) === "confirmed", { what: "an answer" });
    await until(
      async () => {
        await core.publish({ ...message("note"), route: { ...HELLO, action: "changed" }, mandatory: false });
        return notes.length > 0;
      },
      { what: "a note" },
    );
    expect(daemon.health().state).toBe("up");
  });

  test("a consumer that cannot come back says so until it can", async () => {
    const vhost = await namespace(server);
    const owner = await client(server, vhost, { service: "core" });
    await owner.declare([QUEUE]);
    const other = await client(server, vhost, { ownsTopology: false });
    const seen: string[] = [];
    await other.subscribe(QUEUE, collecting(seen));
    await owner[Symbol.asyncDispose]();
    await using raw = await rawChannel(`${server.url}/${vhost}`);
    await raw.channel.deleteQueue(QUEUE.name);
    await until(() => other.health().state === "degraded", { what: "health to say so" });
    expect(other.health().reason).toContain(QUEUE.name);
    const again = await client(server, vhost, { service: "core" });
    await again.declare([QUEUE]);
    await again.publish(message("a", { route: ROUTE }));
    await until(() => seen.includes("a"), { what: "the message" });
    expect(other.health().state).toBe("up");
  });
});
