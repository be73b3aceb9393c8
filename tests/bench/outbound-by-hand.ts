/**
 * What a careful engineer writes by hand to say things as many accounts: a service that takes an intent in one
 * transaction with its audit row and hands it to BullMQ, and a worker that says it and writes two changes of state, each
 * with an audit row. `bare` is BullMQ alone with the same payload: no table, no audit, no signature.
 *
 * BullMQ keeps no order per conversation with more than one job at a time, so each conversation waits in the worker for
 * its job before.
 */
import { createHash } from "node:crypto";
import type { Database } from "@linkspan/store";
import { Queue, Worker } from "bullmq";
import fastify from "fastify";
import { Redis } from "ioredis";
import { until } from "../servers/until.ts";
import type { Run } from "./compare.ts";
import { poster } from "./publishing.ts";
import { SentTexts, type Message, messageOf } from "./sends.ts";
import { timed } from "./compare.ts";

export const BY_HAND_TABLES = `
  CREATE TABLE IF NOT EXISTS bench_intents (
    id text PRIMARY KEY, account text NOT NULL, conversation text NOT NULL, payload jsonb NOT NULL, state text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
  CREATE TABLE IF NOT EXISTS bench_audit (
    id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), subject text NOT NULL, action text NOT NULL)`;

interface Body {
  readonly identity_id: string;
  readonly conversation: string;
  readonly payload: { readonly text: string };
}

const CONCURRENCY = 20;
const CALLERS = 32;

export async function naive(database: Database, redisUrl: string, count: number, run: string): Promise<Run> {
  await using stack = new AsyncDisposableStack();
  const connection = connected(redisUrl, stack);
  const queue = new Queue(run, { connection });
  stack.defer(() => emptied(queue));
  const sent = new SentTexts();
  let settled = 0;
  const inOrder = new Map<string, Promise<void>>();
  const worker = new Worker<Body & { readonly id: string }>(
    run,
    ({ data }) =>
      follow(inOrder, data.conversation, async () => {
        await change(database, data.id, "attempting");
        sent.add(channelOf(data.conversation), data.payload.text);
        await change(database, data.id, "sent");
        settled += 1;
      }),
    { connection: connected(redisUrl, stack), concurrency: CONCURRENCY },
  );
  stack.defer(() => worker.close());
  const app = fastify();
  app.post("/v1/intents", async (request, reply) => {
    const key = String(request.headers["idempotency-key"]);
    const id = createHash("sha256").update(key).digest("base64url");
    const body = request.body as Body;
    const fresh = await database.transaction(async (client) => {
      const { rowCount } = await client.query({
        name: "bench.by_hand.insert",
        text: `INSERT INTO bench_intents (id, account, conversation, payload, state) VALUES ($1, $2, $3, $4, 'queued')
               ON CONFLICT DO NOTHING`,
        values: [id, body.identity_id, body.conversation, JSON.stringify(body.payload)],
      });
      if (rowCount === 1) await note(client, id, "recorded");
      return rowCount === 1;
    });
    if (fresh) await queue.add("say", { ...body, id }, { jobId: id, removeOnComplete: true });
    return reply.code(202).send({ id, state: "queued" });
  });
  const url = await app.listen({ host: "127.0.0.1", port: 0 });
  stack.defer(() => app.close());
  const posting = await poster({ url, token: "none", count, run, callers: CALLERS, members: 1 });
  const result = await timed(count, async () => {
    await posting.go();
    await until(() => settled === count, { what: "all to be sent", everyMs: 10, timeoutMs: 120_000 });
  });
  sent.check(run, count);
  return result;
}

export async function bare(redisUrl: string, count: number, run: string): Promise<Run> {
  await using stack = new AsyncDisposableStack();
  const queue = new Queue(run, { connection: connected(redisUrl, stack) });
  stack.defer(() => emptied(queue));
  const sent = new SentTexts();
  const worker = new Worker<Message>(run, async ({ data }) => sent.add(data.channel, data.text), {
    connection: connected(redisUrl, stack),
    concurrency: CONCURRENCY,
  });
  stack.defer(() => worker.close());
  const result = await timed(count, async () => {
    let next = 0;
    const caller = async () => {
      while (next < count) {
        const one = messageOf(run, next++);
        await queue.add("say", one, { jobId: one.key.replaceAll(":", "."), removeOnComplete: true });
      }
    };
    await Promise.all(Array.from({ length: CALLERS }, caller));
    await until(() => sent.count === count, { what: "all to be processed", everyMs: 10, timeoutMs: 120_000 });
  });
  sent.check(run, count);
  return result;
}

function connected(url: string, stack: AsyncDisposableStack): Redis {
  const redis = new Redis(url, { maxRetriesPerRequest: null });
  stack.defer(() => redis.disconnect());
  return redis;
}

async function emptied(queue: Queue): Promise<void> {
  await queue.obliterate({ force: true });
  await queue.close();
}

function follow(lanes: Map<string, Promise<void>>, lane: string, work: () => Promise<void>): Promise<void> {
  const done = (lanes.get(lane) ?? Promise.resolve()).then(work);
  lanes.set(lane, done);
  return done;
}

async function change(database: Database, id: string, state: string): Promise<void> {
  await database.transaction(async (client) => {
    await client.query({
      name: "bench.by_hand.update",
      text: "UPDATE bench_intents SET state = $2, updated_at = now() WHERE id = $1",
      values: [id, state],
    });
    await note(client, id, state);
  });
}

async function note(client: Pick<Database["pool"], "query">, id: string, action: string): Promise<void> {
  await client.query({
    name: "bench.by_hand.audit",
    text: "INSERT INTO bench_audit (subject, action) VALUES ($1, $2)",
    values: [id, action],
  });
}

function channelOf(conversation: string): string {
  return decodeURIComponent(conversation.split("/").at(-1) ?? "");
}
