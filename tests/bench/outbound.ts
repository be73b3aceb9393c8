/**
 * The whole way out, from a backend's request to `sent`: 100 linked accounts in 1,000 conversations, on the embedded
 * bus and on RabbitMQ, against a service that a careful engineer would write by hand and against bare BullMQ. Who posts
 * is a process of its own, and every run checks that each text was sent once and in its conversation's order.
 */
import { randomUUID } from "node:crypto";
import { EventEmitter } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashToken, newToken, startApi } from "@linkspan/api";
import { openCore, parseConfig, runBeside, runCore } from "@linkspan/compose/parts";
import { type Activity, EchoPlatform, echoConnector } from "@linkspan/daemon-echo";
import type { Connector } from "@linkspan/daemon-kit";
import { AmqpBus, type Bus, EmbeddedBroker } from "@linkspan/fabric";
import { Database, insertApiToken, insertIdentity, migrate, updateIdentity } from "@linkspan/store";
import type { Core } from "@linkspan/worker";
import { pino } from "pino";
import { Registry } from "prom-client";
import type { PostgresServer } from "../servers/postgres.ts";
import type { RabbitmqServer } from "../servers/rabbitmq.ts";
import type { RedisServer } from "../servers/redis.ts";
import { until } from "../servers/until.ts";
import { type Contest, type Run, timed } from "./compare.ts";
import { Counted } from "./counted.ts";
import { WORKSPACE } from "./corpus.ts";
import { bare, BY_HAND_TABLES, naive } from "./outbound-by-hand.ts";
import { poster } from "./publishing.ts";
import { accountOf, IDENTITIES, SentTexts } from "./sends.ts";

const CALLERS = 8;
const MEMBERS = 50;
const PLENTY = { perSecond: 1_000_000, burst: 1_000_000 };

export interface Servers {
  readonly postgres: PostgresServer;
  readonly rabbitmq: RabbitmqServer;
  readonly redis: RedisServer;
}

export interface OutboundBench extends AsyncDisposable {
  readonly contests: readonly Contest[];
  readonly embedded: OutboundWorld;
}

export async function outboundBench(servers: Servers, count: number): Promise<OutboundBench> {
  await using stack = new AsyncDisposableStack();
  const plain = stack.use(
    new Database(await servers.postgres.createDatabase("by_hand"), { maxConnections: 10 }),
  );
  await plain.query(BY_HAND_TABLES);
  const { url: redis } = servers.redis;
  const worlds = [
    ["outbound", stack.use(await openOutbound(servers.postgres, "out_embedded", embedded()))],
    [
      "outbound_amqp",
      stack.use(await openOutbound(servers.postgres, "out_amqp", await onBroker(servers.rabbitmq))),
    ],
  ] as const;
  const contests = worlds.flatMap(([name, world]): Contest[] => [
    {
      name: `${name}_vs_naive`,
      floor: 1.5,
      ours: () => world.run(count),
      yardstick: () => naive(plain, redis, count, randomUUID()),
    },
    {
      name: `${name}_vs_bullmq`,
      floor: 0.25,
      ours: () => world.run(count),
      yardstick: () => bare(redis, count, randomUUID()),
    },
  ]);
  const owned = stack.move();
  return { contests, embedded: worlds[0][1], [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose]() };
}

export interface OutboundWorld extends AsyncDisposable {
  readonly core: Core;
  readonly platform: EchoPlatform;
  /** `intent`: its text, when the daemon has it and has proven it. */
  readonly daemon: EventEmitter<{ intent: [text: string] }>;
  /** From the first request to the last `sent`. */
  run(count: number): Promise<Run>;
}

type Connect = (service: string) => Promise<Bus>;

export function embedded(): Connect {
  const broker = new EmbeddedBroker();
  return (service) => Promise.resolve(broker.connect(service));
}

async function onBroker(broker: RabbitmqServer): Promise<Connect> {
  const url = await broker.vhost("outbound");
  return (service) => AmqpBus.connect({ url, service, bootId: randomUUID() });
}

/** A core with its API and an echo daemon that serves {@link IDENTITIES} linked accounts; nobody answers them. */
export async function openOutbound(
  postgres: PostgresServer,
  name: string,
  connect: Connect,
): Promise<OutboundWorld> {
  await using stack = new AsyncDisposableStack();
  const data = await mkdtemp(join(tmpdir(), "linkspan-bench-"));
  stack.defer(() => rm(data, { recursive: true, force: true }));
  const databaseUrl = await postgres.createDatabase(name);
  const config = parseConfig({ LINKSPAN_DATA: data, LINKSPAN_DATABASE_URL: databaseUrl }, undefined);
  const database = stack.use(new Database(databaseUrl, { maxConnections: config.database_pool }));
  await migrate(database);
  const log = pino({ level: "silent" });
  const none = () => undefined;
  const sentIntents = new Counted("sent intents");
  const intent = (state: string) => {
    if (state === "sent") sentIntents.add(1);
  };
  const metrics = { events: none, intent, quarantined: none, inboundBatch: none };
  const opened = await openCore(config, stack.use(await connect("core")), database, metrics, log, stack);
  const { core } = opened;
  await linkAll(database);
  await runCore(opened, stack);
  const platform = new EchoPlatform();
  const daemon: OutboundWorld["daemon"] = new EventEmitter();
  const bus = stack.use(await connect("echo"));
  const connector = announcing(echoConnector({ platform }), (text) => daemon.emit("intent", text));
  await runBeside(core, bus, connector, config, log, stack);
  const token = newToken();
  const owner = { name: "bench", role: "backend", workspace_id: WORKSPACE } as const;
  await insertApiToken(database.pool, hashToken(token), owner);
  const limits = { perToken: PLENTY, perWorkspace: PLENTY, bodyBytes: { perSecond: 1e9, burst: 1e9 } };
  const api = stack.use(
    await startApi(core, { host: "127.0.0.1", port: 0, registry: new Registry(), limits }),
  );
  await until(async () => (await connectedOf(database)) === IDENTITIES, {
    what: "the accounts to be connected",
  });
  const owned = stack.move();
  return {
    core,
    platform,
    daemon,
    run: (count) => sentAll({ database, platform, sentIntents, url: api.url, token }, count),
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  };
}

/** The same connector, which tells of each text that it is given. */
function announcing(connector: Connector, onText: (text: string) => void): Connector {
  return {
    ...connector,
    open: async (identity, host) => {
      const connection = await connector.open(identity, host);
      const plan = connection.plan.bind(connection);
      connection.plan = (action) => {
        onText(String(action.payload["text"]));
        return plan(action);
      };
      return connection;
    },
  };
}

async function linkAll(database: Database): Promise<void> {
  for (let i = 0; i < IDENTITIES; i++) {
    const id = accountOf(i);
    const place = { user_id: `user-${i}`, service: "echo", instance: "primary", settings: { silent: true } };
    await insertIdentity(database.pool, { id, workspace_id: WORKSPACE, ...place });
    await updateIdentity(database.pool, id, { state: "linked" });
  }
}

async function connectedOf(database: Database): Promise<number> {
  const { rows } = await database.query<{ n: number }>(
    "SELECT count(*)::int AS n FROM identities WHERE bridge_state = 'connected'",
  );
  return rows[0]?.n ?? 0;
}

async function sentAll(
  world: {
    readonly database: Database;
    readonly platform: EchoPlatform;
    readonly sentIntents: Counted;
    readonly url: string;
    readonly token: string;
  },
  count: number,
): Promise<Run> {
  const { database, platform, sentIntents } = world;
  await database.query("TRUNCATE intents, outbox, lanes, intent_steps");
  const run = randomUUID();
  const sent = new SentTexts();
  const listener = (_: string, { channel, text }: Activity) => sent.add(channel, text ?? "");
  platform.on("performed", listener);
  const posting = await poster({
    url: world.url,
    token: world.token,
    count,
    run,
    callers: CALLERS,
    members: MEMBERS,
  });
  const result = await timed(count, async () => {
    await Promise.all([posting.go(), sentIntents.next(count)]);
  });
  if ((await sentOf(database)) !== count) throw new Error(`not all of ${count} intents were sent`);
  platform.off("performed", listener);
  sent.check(run, count);
  return result;
}

async function sentOf(database: Database): Promise<number> {
  const { rows } = await database.query<{ n: number }>(
    "SELECT count(*)::int AS n FROM intents WHERE state = 'sent'",
  );
  return rows[0]?.n ?? 0;
}
