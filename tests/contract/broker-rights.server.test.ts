/** What a daemon's user can and cannot do on a real RabbitMQ that was given the stack's definitions. */
import { randomUUID } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AmqpBusConfig, DEAD_LETTERS, type Delivery, type QueueSpec } from "@linkspan/fabric";
import type { Options } from "amqplib";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { definitions } from "@linkspan/compose/stack";
import { describeWithServers } from "../servers/available.ts";
import { type RabbitmqServer, startRabbitmq } from "../servers/rabbitmq.ts";
import { until } from "../servers/until.ts";
import { client, collecting, message, outcome, rawChannel, ROUTE } from "./broker-clients.ts";

/** As the core's worker declares them. */
const inboundQueue = (partition: number): QueueSpec => ({
  name: `core.inbound.p0${partition}`,
  kind: "partition",
  bindings: [{ action: "inbound_event", partition }],
});
const CORE_QUEUE = inboundQueue(0);
const SENDS: QueueSpec = {
  name: "irc.primary.p00",
  kind: "partition",
  bindings: [{ service: "irc", instance: "primary", action: "outbound_message", partition: 0 }],
};

describeWithServers(["rabbitmq"], "a broker with the stack's rights:", () => {
  let server: RabbitmqServer;
  let vhost: string;
  beforeAll(async () => {
    server = await startRabbitmq();
  });
  afterAll(() => server[Symbol.asyncDispose]());
  beforeEach(async () => {
    vhost = randomUUID();
    const directory = mkdtempSync(join(tmpdir(), "linkspan-rights-"));
    const file = join(directory, "definitions.json");
    const daemon = (service: string) => ({
      user: `${service}-${vhost}`,
      password: "secret",
      role: { kind: "daemon" as const, service, instance: "primary" },
    });
    const core = { user: `core-${vhost}`, password: "secret", role: { kind: "core" as const } };
    writeFileSync(file, JSON.stringify(definitions(vhost, [core, daemon("irc"), daemon("echo")])));
    chmodSync(directory, 0o755);
    await server.ctl("import_definitions", file);
    rmSync(directory, { recursive: true });
  });

  const as = (service: string, rest: Partial<AmqpBusConfig> = {}) =>
    client(server, vhost, {
      service,
      ownsTopology: service === "core",
      userId: `${service}-${vhost}`,
      auth: { kind: "plain", user: `${service}-${vhost}`, password: "secret" },
      ...rest,
    });
  const raw = (service: string) =>
    rawChannel(`amqp://${service}-${vhost}:secret@127.0.0.1:${server.port}/${vhost}`);

  async function deadLettersOf(core: Awaited<ReturnType<typeof as>>): Promise<Delivery[]> {
    const dead: Delivery[] = [];
    await core.subscribe(
      DEAD_LETTERS,
      collecting([], (delivery) => void dead.push({ ...delivery })),
    );
    return dead;
  }

  /** Whether the broker takes it; a refusal closes the channel. */
  async function published(service: string, exchange: string, key: string, options: Options.Publish = {}) {
    await using peer = await raw(service);
    const { channel } = peer;
    const closed = new Promise<string>((resolve) => {
      channel.once("error", (error: Error & { code?: number }) => resolve(`refused ${error.code}`));
    });
    channel.publish(exchange, key, Buffer.from("forged"), { messageId: "forged", ...options });
    return await Promise.race([
      closed,
      channel.waitForConfirms().then(
        () => "taken",
        () => closed,
      ),
    ]);
  }

  test("a daemon declares and serves its own queues, publishes, asks and dead-letters with no right on what is everybody's", async () => {
    const core = await as("core");
    const daemon = await as("irc");
    expect(await outcome(daemon.declare([SENDS]))).toBe("bus.unavailable");
    await core.declare([
      CORE_QUEUE,
      { name: "core.requests", kind: "shared", bindings: [{ service: "core", action: "hello" }] },
    ]);
    const dead = await deadLettersOf(core);
    await daemon.declare([SENDS]);
    await daemon.declare([SENDS]);
    await daemon.subscribe(
      SENDS,
      collecting([], () => ({ do: "dead", code: "envelope.bad_signature", detail: "not the core's" })),
    );
    const seen: string[] = [];
    await core.subscribe(CORE_QUEUE, collecting(seen));
    await core.subscribe(
      { name: "core.requests", kind: "shared", bindings: [{ service: "core", action: "hello" }] },
      {
        async handle(batch) {
          for (const { delivery } of batch) {
            const answer = {
              route: delivery.route,
              body: Buffer.from("yes"),
              messageId: "a",
              inReplyTo: "ask",
            };
            await core.reply(delivery.replyTo ?? "", answer);
          }
          return batch.map(() => ({ do: "ack" }));
        },
      },
    );
    expect(await outcome(daemon.publish(message("event")))).toBe("confirmed");
    const hello = {
      ...message("ask"),
      route: { service: "core", instance: "primary", action: "hello", partition: 0 },
    };
    expect(await outcome(daemon.request(hello, { timeoutMs: 10_000 }))).toBe("confirmed");
    await core.publish({ ...message("intent"), route: { ...ROUTE, action: "outbound_message" } });
    await until(() => dead.length === 1 && seen.includes("event"), { what: "the dead letter and the event" });
    expect(dead[0]).toMatchObject({
      messageId: "intent",
      route: { service: "irc", action: "outbound_message" },
      death: { code: "envelope.bad_signature", detail: "not the core's", queue: SENDS.name },
    });
  });

  test("a daemon cannot delete, declare, bind, read or empty what is everybody's or another's", async () => {
    const core = await as("core");
    await core.declare([CORE_QUEUE]);
    const echo = await as("echo");
    await echo.declare([
      {
        ...SENDS,
        name: "echo.primary.p00",
        bindings: [{ service: "echo", instance: "primary", action: "outbound_message", partition: 0 }],
      },
    ]);
    type Raw = Awaited<ReturnType<typeof raw>>["channel"];
    const attempts: Record<string, (channel: Raw) => Promise<unknown>> = {
      "delete the exchange": (channel) => channel.deleteExchange("bridge"),
      "declare the exchange": (channel) => channel.assertExchange("bridge", "topic", { durable: true }),
      "delete the dead letters": (channel) => channel.deleteQueue("bridge.dead"),
      "declare the dead letters": (channel) => channel.assertQueue("bridge.dead", { durable: true }),
      "empty the dead letters": (channel) => channel.purgeQueue("bridge.dead"),
      "read the dead letters": (channel) => channel.get("bridge.dead"),
      "bind the dead letters": (channel) =>
        channel.bindQueue("bridge.dead", "bridge", "irc._.inbound_event.p00"),
      "unbind the dead letters": (channel) => channel.unbindQueue("bridge.dead", "bridge", "bridge.dead.*.*"),
      "unbind the core's queue": (channel) =>
        channel.unbindQueue(CORE_QUEUE.name, "bridge", "*.*.inbound_event.p00"),
      "read the core's queue": (channel) => channel.get(CORE_QUEUE.name),
      "delete another daemon's queue": (channel) => channel.deleteQueue("echo.primary.p00"),
      "listen to dead letters": async (channel) => {
        await channel.assertQueue("irc.primary.spy", { exclusive: true });
        return channel.bindQueue("irc.primary.spy", "bridge", "bridge.dead.*.*");
      },
      "listen to another daemon's": async (channel) => {
        await channel.assertQueue("irc.primary.spy2", { exclusive: true });
        return channel.bindQueue("irc.primary.spy2", "bridge", "echo.*.inbound_event.p00");
      },
    };
    for (const [what, attempt] of Object.entries(attempts)) {
      await using peer = await raw("irc");
      const result = await attempt(peer.channel).then(
        () => "done",
        (error: unknown) => (error as { code?: number }).code,
      );
      expect([what, result]).toEqual([what, 403]);
    }
    expect(await outcome(core.publish(message("event")))).toBe("confirmed");
  });

  test("a forged dead letter is refused: by key, by exchange, and in another's name", async () => {
    const core = await as("core");
    await core.declare([CORE_QUEUE]);
    const dead = await deadLettersOf(core);
    const headers = {
      "death-code": "envelope.schema",
      "death-queue": "core.inbound.p00",
      "death-route": "echo._.inbound_event.p00",
    };
    for (const [exchange, key] of [
      ["bridge", "bridge.dead"],
      ["bridge", "bridge.dead.core._"],
      ["bridge", "bridge.dead.echo._"],
      ["", "bridge.dead"],
      ["amq.topic", "bridge.dead.core._"],
    ] as const) {
      expect([key, await published("irc", exchange, key, { headers })]).toEqual([key, "refused 403"]);
    }
    expect(await published("irc", "bridge", "bridge.dead.irc._", { headers, userId: `core-${vhost}` })).toBe(
      "refused 406",
    );
    expect(await published("irc", "bridge", "bridge.dead.irc._", { headers })).toBe("taken");
    await until(() => dead.length === 1, { what: "its own key's" });
    expect(dead[0]).toMatchObject({ route: { service: "unknown" }, death: { code: "envelope.misrouted" } });
  });

  test.each(["CC", "BCC"])(
    "what a %s header brings to another's queue is refused as misrouted",
    async (header) => {
      const core = await as("core");
      await core.declare([CORE_QUEUE, inboundQueue(1)]);
      const echo = await as("echo");
      const other = {
        ...SENDS,
        name: "echo.primary.p00",
        bindings: [{ service: "echo", instance: "primary", action: "outbound_message", partition: 0 }],
      };
      await echo.declare([other]);
      const dead = await deadLettersOf(core);
      const [seen, echoed]: [string[], string[]] = [[], []];
      await core.subscribe(CORE_QUEUE, collecting(seen));
      await core.subscribe(inboundQueue(1), collecting(seen));
      await echo.subscribe(other, collecting(echoed));
      const headers = {
        [header]: ["irc._.inbound_event.p01", "echo._.outbound_message.p00", "bridge.dead.core._"],
      };
      expect(await published("irc", "bridge", "irc._.inbound_event.p00", { headers })).toBe("taken");
      // Three copies went astray: to the other partition, to the other daemon, and to the dead letters themselves.
      await until(() => dead.length === 3, { what: "the misrouted copies" });
      expect(dead.map(({ death }) => death?.code)).toEqual(Array(3).fill("envelope.misrouted"));
      await core.publish({ ...message("last"), route: { ...ROUTE, partition: 1 } });
      await until(() => seen.includes("last"), { what: "the last" });
      expect([seen, echoed]).toEqual([["forged", "last"], []]);
    },
  );
});
