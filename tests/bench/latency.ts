/**
 * How long one message takes while the fabric does half of what it can: from a backend's intent to the daemon and on to
 * the platform, and from what somebody wrote on the platform to the event that a reader sees, each beside a raw round trip
 * through a quorum queue at the same pace.
 *
 *   node tests/bench/latency.ts [per second] [messages]
 *
 * The pace is half of what the machine brings to `sent` when nothing else is given.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { readEvents } from "@linkspan/store";
import { recordIntent } from "@linkspan/worker";
import amqp from "amqplib";
import { startPostgres } from "../servers/postgres.ts";
import { startRabbitmq } from "../servers/rabbitmq.ts";
import { until } from "../servers/until.ts";
import { median } from "./compare.ts";
import { WORKSPACE } from "./corpus.ts";
import { embedded, openOutbound, type OutboundWorld } from "./outbound.ts";
import { accountOf, refOf } from "./sends.ts";

/** Times of arrival by what was sent; each is awaited once. */
class Arrivals {
  readonly #startedAt = new Map<string, number>();
  readonly tookMs: number[] = [];

  start(key: string): void {
    this.#startedAt.set(key, performance.now());
  }

  arrived(key: string): void {
    const startedAt = this.#startedAt.get(key);
    if (startedAt === undefined) return;
    this.#startedAt.delete(key);
    this.tookMs.push(performance.now() - startedAt);
  }
}

/** Starts one after the other at a steady pace, however long each takes. */
async function paced(count: number, perSecond: number, send: (n: number) => Promise<unknown>): Promise<void> {
  const startedAt = performance.now();
  const running: Promise<unknown>[] = [];
  for (let n = 0; n < count; n++) {
    const waitMs = startedAt + (n * 1_000) / perSecond - performance.now();
    if (waitMs > 0) await pause(waitMs);
    running.push(send(n));
  }
  await Promise.all(running);
}

async function outbound(
  { core, platform, daemon }: OutboundWorld,
  count: number,
  perSecond: number,
): Promise<{ readonly atDaemon: number[]; readonly performed: number[] }> {
  const [atDaemon, performed] = [new Arrivals(), new Arrivals()];
  daemon.on("intent", (text) => atDaemon.arrived(text));
  platform.on("performed", (_, { text = "" }) => performed.arrived(text));
  await paced(count, perSecond, (n) => {
    const text = randomUUID();
    atDaemon.start(text);
    performed.start(text);
    return recordIntent(core, {
      workspaceId: WORKSPACE,
      identityId: accountOf(n),
      action: "outbound_message",
      conversation: refOf(`latency ${n}`),
      payload: { text },
      idempotencyKey: text,
      actor: "bench",
    });
  });
  await until(() => performed.tookMs.length === count, { what: "all to be sent", timeoutMs: 60_000 });
  return { atDaemon: atDaemon.tookMs, performed: performed.tookMs };
}

async function inbound(
  { core, platform }: OutboundWorld,
  count: number,
  perSecond: number,
): Promise<number[]> {
  const arrivals = new Arrivals();
  const stop = new AbortController();
  let after = 0;
  let reading = Promise.resolve();
  const read = async (): Promise<void> => {
    const events = await readEvents(core.database.pool, { workspaceId: WORKSPACE, after, limit: 500 });
    for (const event of events) {
      after = event.position;
      arrivals.arrived(
        (JSON.parse(event.body.toString()) as { payload: { text?: string } }).payload.text ?? "",
      );
    }
    if (events.length === 500) await read();
  };
  await read();
  const readOn = (): void => {
    reading = reading.then(read);
  };
  core.wakes.on("positions", readOn, stop.signal);
  await paced(count, perSecond, (n) => {
    const text = randomUUID();
    arrivals.start(text);
    platform.happen(accountOf(n), { kind: "message", channel: `latency ${n}`, text });
    return Promise.resolve();
  });
  await until(() => arrivals.tookMs.length === count, { what: "all to be read", timeoutMs: 60_000 });
  stop.abort();
  await reading;
  return arrivals.tookMs;
}

async function raw(url: string, count: number, perSecond: number): Promise<number[]> {
  const arrivals = new Arrivals();
  const connection = await amqp.connect(url);
  const channel = await connection.createConfirmChannel();
  const queue = "bench.latency";
  await channel.assertQueue(queue, { durable: true, arguments: { "x-queue-type": "quorum" } });
  await channel.consume(queue, (message) => {
    if (message === null) return;
    channel.ack(message);
    arrivals.arrived(String(message.properties.messageId));
  });
  await paced(count, perSecond, (n) => {
    arrivals.start(`${n}`);
    const options = { persistent: true, messageId: `${n}` };
    channel.sendToQueue(queue, Buffer.alloc(700, "x"), options);
    return Promise.resolve();
  });
  await until(() => arrivals.tookMs.length === count, { what: "all to come back", timeoutMs: 60_000 });
  await connection.close();
  return arrivals.tookMs;
}

export interface Latency {
  readonly name: "raw amqplib" | "outbound to the daemon" | "outbound to the platform" | "inbound";
  readonly p50: number;
  readonly p99: number;
}

/** A single one may not wait for company; 15 ms on a machine that does nothing else, more where the broker is slow, too. */
const QUIET_P50_MS = 15;
const TIMES_RAW = 25;

/** @returns what was measured; whether the medians are within their bounds */
export async function latencies(
  world: OutboundWorld,
  brokerUrl: string,
  count: number,
  perSecond: number,
): Promise<{ readonly measured: readonly Latency[]; readonly ok: boolean }> {
  const raws = await raw(brokerUrl, count, perSecond);
  const { atDaemon, performed } = await outbound(world, count, perSecond);
  const measured = [
    summary("raw amqplib", raws),
    summary("outbound to the daemon", atDaemon),
    summary("outbound to the platform", performed),
    summary("inbound", await inbound(world, count, perSecond)),
  ];
  const bound = Math.max(QUIET_P50_MS, TIMES_RAW * (measured[0]?.p50 ?? 0));
  return { measured, ok: measured.every(({ p50 }) => p50 <= bound) };
}

function summary(name: Latency["name"], tookMs: readonly number[]): Latency {
  const sorted = tookMs.toSorted((a, b) => a - b);
  const p99 = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))] ?? 0;
  return { name, p50: Number(median(sorted).toFixed(2)), p99: Number(p99.toFixed(2)) };
}

export function line({ name, p50, p99 }: Latency): string {
  return `latency ${name.padEnd(24)} p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms\n`;
}

if (import.meta.main) {
  const [postgres, rabbitmq] = await Promise.all([startPostgres(), startRabbitmq()]);
  try {
    await using world = await openOutbound(postgres, "latency", embedded());
    const perSecond = Number(process.argv[2] ?? (await world.run(300)).rate / 2);
    const count = Number(process.argv[3] ?? 300);
    const { measured } = await latencies(world, await rabbitmq.vhost("latency"), count, perSecond);
    for (const one of measured) process.stdout.write(line(one));
  } finally {
    await Promise.all([postgres, rabbitmq].map((server) => server[Symbol.asyncDispose]()));
  }
}
