/** The stack's broker permissions on a real RabbitMQ: enough for a core and a daemon, and for nothing else. */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { definitions, EXCHANGE } from "@linkspan/compose/stack";
import { connect } from "amqplib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { directoryFor, giveTo } from "../servers/account.ts";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { type RabbitmqServer, startRabbitmq } from "../servers/rabbitmq.ts";
import { answers, place, Up } from "./linkspan.ts";

const VHOST = "main";
const password = () => randomBytes(24).toString("base64url");

describeWithServers(["rabbitmq", "postgres"], "the stack's permissions", () => {
  const passwords = { core: password(), echo: password() };
  let broker: RabbitmqServer;
  let database: PostgresServer;

  const urlOf = (user: keyof typeof passwords) =>
    `amqp://${user}:${passwords[user]}@127.0.0.1:${broker.port}/${VHOST}`;

  beforeAll(async () => {
    [broker, database] = await Promise.all([startRabbitmq(), startPostgres()]);
    const directory = directoryFor("rabbitmq", "definitions");
    const file = join(directory, "definitions.json");
    const told = definitions(VHOST, [
      { user: "core", password: passwords.core, role: { kind: "core" } },
      {
        user: "echo",
        password: passwords.echo,
        role: { kind: "daemon", service: "echo", instance: "primary" },
      },
    ]);
    writeFileSync(file, JSON.stringify(told));
    giveTo("rabbitmq", directory);
    await broker.ctl("import_definitions", file);
  });
  afterAll(async () => {
    await broker?.[Symbol.asyncDispose]();
    await database?.[Symbol.asyncDispose]();
  });

  test("a message goes out and comes back, in two processes with a user each", async () => {
    await using here = await place();
    await using core = await Up.start(
      {
        ...here.env,
        LINKSPAN_AMQP_URL: urlOf("core"),
        LINKSPAN_DATABASE_URL: await database.createDatabase("stack"),
      },
      ["--roles", "core,api"],
    );
    const tokenFile = join(here.data, "enrol");
    await answers(["daemon", "enrol", "echo", "--token-file", tokenFile], core.env);
    await using daemon = await Up.start(
      {
        LINKSPAN_DATA: join(here.data, "daemon"),
        LINKSPAN_AMQP_URL: urlOf("echo"),
        LINKSPAN_CORE_URL: core.url,
        LINKSPAN_ENROL_TOKEN_FILE: tokenFile,
        LINKSPAN_LOG_LEVEL: "warn",
      },
      ["--roles", "echo"],
    );
    expect(daemon.line).toBe("ready echo");
    const [linked] = await answers<{ identity_id: string }>(["link", "echo", "--user", "ada"], core.env);
    const identity = linked?.identity_id ?? "";
    const [intent] = await answers<{ state: string }>(
      ["send", "hello", "--identity", identity, "--to", "lobby", "--wait"],
      core.env,
    );
    expect(intent?.state).toBe("sent");
    expect(await daemon.end("SIGTERM")).toMatchObject({ code: 0, left: [] });
    expect(await core.end("SIGTERM")).toMatchObject({ code: 0, left: [] });
  });

  test.each([
    ["publishes as another service", (to: Channel) => to.publish(EXCHANGE, "irc._.inbound_event.p00", BODY)],
    [
      "publishes what the core says",
      (to: Channel) => to.publish(EXCHANGE, "echo._.outbound_message.p00", BODY),
    ],
    ["publishes to a queue by its name", (to: Channel) => to.publish("", "core.inbound.p00", BODY)],
    ["reads what daemons tell the core", (to: Channel) => to.consume("core.inbound.p00", () => undefined)],
    ["reads dead letters", (to: Channel) => to.consume("bridge.dead", () => undefined)],
    [
      "listens to everything",
      async (to: Channel) => {
        const { queue } = await to.assertQueue("echo.primary.ears", { exclusive: true });
        await to.bindQueue(queue, EXCHANGE, "#");
      },
    ],
    [
      "listens to another's sends",
      async (to: Channel) => {
        const { queue } = await to.assertQueue("echo.primary.ears", { exclusive: true });
        await to.bindQueue(queue, EXCHANGE, "irc._.outbound_message.*");
      },
    ],
    [
      "signs in as another",
      (to: Channel) => to.publish(EXCHANGE, "echo._.health.p00", BODY, { userId: "core" }),
    ],
  ])("a daemon's user is refused when it %s", async (_what, attempt) => {
    const connection = await connect(urlOf("echo"));
    try {
      const channel = await connection.createConfirmChannel();
      let code: unknown;
      channel.on("error", (error: { readonly code?: unknown }) => {
        code = error.code;
      });
      await expect(
        (async () => {
          await attempt(channel);
          await channel.waitForConfirms();
          await channel.checkExchange(EXCHANGE);
        })(),
      ).rejects.toThrow();
      expect([403, 406]).toContain(code);
    } finally {
      await connection.close();
    }
  });
});

type Channel = Awaited<ReturnType<Awaited<ReturnType<typeof connect>>["createConfirmChannel"]>>;
const BODY = Buffer.from("{}");
