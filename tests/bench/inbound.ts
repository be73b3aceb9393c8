/**
 * The whole way in, RabbitMQ to committed rows, every envelope signed: our worker against two loops that a
 * careful engineer would write by hand. The publisher is a process of its own, and every run checks that
 * exactly what was sent is there once.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { openCore, parseConfig, registerKey, runCore } from "@linkspan/compose/parts";
import { AmqpBus } from "@linkspan/fabric";
import { type Database, insertIdentity, migrate, updateIdentity } from "@linkspan/store";
import amqp from "amqplib";
import { pino } from "pino";
import type { RabbitmqServer } from "../servers/rabbitmq.ts";
import { type Contest, type Run, timed } from "./compare.ts";
import { Counted } from "./counted.ts";
import { ACCOUNT, PARTITIONS, record, WORKSPACE } from "./corpus.ts";
import { publisher } from "./publishing.ts";
import { batched, naive, PLAIN_TABLE } from "./yardsticks.ts";

const EXCHANGE = "bench.plain";
const QUEUE = "bench.plain";

export interface InboundBench extends AsyncDisposable {
  readonly contests: readonly Contest[];
}

export async function inboundBench(
  broker: RabbitmqServer,
  database: Database,
  databaseUrl: string,
  counts: { readonly batched: number; readonly naive: number },
): Promise<InboundBench> {
  await using stack = new AsyncDisposableStack();
  await migrate(database);
  await database.query(PLAIN_TABLE);
  const plain = await broker.vhost("plain");
  const fabric = await broker.vhost("fabric");
  await declarePlain(plain);
  const data = await mkdtemp(join(tmpdir(), "linkspan-bench-"));
  stack.defer(() => rm(data, { recursive: true, force: true }));
  const stored = new Counted("stored events");
  await startCore(fabric, data, databaseUrl, database, stored, stack);

  const ours = (count: number) => () =>
    run(fabric, "bridge", count, database, "events", () => stored.next(count));
  const byHand = (work: typeof naive, count: number) => () =>
    run(plain, EXCHANGE, count, database, "bench_inbox", () => work(plain, QUEUE, count, database));
  const contests: Contest[] = [
    {
      name: "inbound_vs_naive",
      floor: 2,
      ours: ours(counts.batched),
      yardstick: byHand(naive, counts.naive),
    },
    {
      name: "inbound_vs_batched",
      floor: 0.75,
      ours: ours(counts.batched),
      yardstick: byHand(batched, counts.batched),
    },
  ];
  const owned = stack.move();
  return { contests, [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose]() };
}

async function declarePlain(url: string): Promise<void> {
  const connection = await amqp.connect(url);
  const channel = await connection.createChannel();
  await channel.assertExchange(EXCHANGE, "topic", { durable: true });
  await channel.assertQueue(QUEUE, { durable: true, arguments: { "x-queue-type": "quorum" } });
  await channel.bindQueue(QUEUE, EXCHANGE, "#");
  await connection.close();
}

async function startCore(
  url: string,
  data: string,
  databaseUrl: string,
  database: Database,
  stored: Counted,
  stack: AsyncDisposableStack,
): Promise<void> {
  const config = parseConfig(
    { LINKSPAN_DATA: data, LINKSPAN_DATABASE_URL: databaseUrl, LINKSPAN_AMQP_URL: url },
    undefined,
  );
  const bus = stack.use(await AmqpBus.connect({ url, service: "core", bootId: randomUUID() }));
  const none = () => undefined;
  const events = (outcome: string, _service: string, count: number) => {
    if (outcome === "stored") stored.add(count);
  };
  const metrics = { events, intent: none, quarantined: none, inboundBatch: none };
  const opened = await openCore(config, bus, database, metrics, pino({ level: "silent" }), stack);
  if (opened.core.namespace.partitions !== PARTITIONS)
    throw new Error("the corpus is made for other partitions");
  await registerKey(opened.core, record);
  const identity = {
    id: ACCOUNT,
    workspace_id: WORKSPACE,
    user_id: "u",
    service: "irc",
    instance: "primary",
    settings: {},
  };
  await insertIdentity(database.pool, identity);
  await updateIdentity(database.pool, ACCOUNT, { state: "linked", bridge_state: "connected" });
  await runCore(opened, stack);
}

/** From the publisher's start to the last row; then counts. */
async function run(
  url: string,
  exchange: string,
  count: number,
  database: Database,
  table: "events" | "bench_inbox",
  consume: () => Promise<void>,
): Promise<Run> {
  await database.query("TRUNCATE events, event_positions, inbox_keys, bench_inbox");
  const sender = await publisher(url, exchange, count, randomUUID());
  const result = await timed(count, async () => {
    await Promise.all([sender.go(), consume()]);
  });
  const { rows } = await database.query<{ n: number; ids: number }>(
    `SELECT count(*)::int AS n, count(DISTINCT message_id)::int AS ids FROM ${table}`,
  );
  if (rows[0]?.n !== count || rows[0].ids !== count)
    throw new Error(`${JSON.stringify(rows[0])} instead of ${count} rows`);
  return result;
}
